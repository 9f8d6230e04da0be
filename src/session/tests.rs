//! Tokens, keys and key sets, each against the real thing.
