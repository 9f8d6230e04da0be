//! Reads values of the redis crate strictly: anything unexpected is a protocol error, not a guess.

use super::reply_error::store_error_of_reply;
use crate::store::StoreError;
use ::redis::Value;

pub(crate) fn array(value: &Value) -> Result<&[Value], StoreError> {
    match value {
        Value::Array(values) => Ok(values),
        Value::ServerError(error) => Err(store_error_of_reply(error)),
        _ => Err(unreadable("an array")),
    }
}

pub(crate) fn text(value: &Value) -> Result<&str, StoreError> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).map_err(|_| unreadable("a text")),
        Value::SimpleString(text) => Ok(text),
        _ => Err(unreadable("a text")),
    }
}

pub(crate) fn int(value: &Value) -> Result<u64, StoreError> {
    let number = match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::ServerError(error) => return Err(store_error_of_reply(error)),
        other => text(other)?.parse().ok(),
    };
    number.ok_or_else(|| unreadable("a number"))
}

/// A yes or no, which is a 1 or 0.
pub(crate) fn flag(value: &Value) -> Result<bool, StoreError> {
    Ok(int(value)? == 1)
}

/// The reply to `TIME`, in unix milliseconds.
pub(crate) fn server_time(value: &Value) -> Option<u64> {
    match array(value).ok()? {
        [seconds, micros] => Some(int(seconds).ok()? * 1000 + int(micros).ok()? / 1000),
        _ => None,
    }
}

pub(crate) fn unreadable(expected: &str) -> StoreError {
    StoreError::Protocol(format!("{expected} was expected"))
}
