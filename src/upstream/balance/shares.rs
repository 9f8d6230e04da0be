//! The endpoints of a group, each as often as its weight says.

use super::Endpoint;

/// Indices of endpoints in the order in which smooth weighted round robin (nginx's method) takes
/// them: an endpoint of weight 3 beside one of weight 1 gives `a a b a`, never `a a a b`.
pub(in crate::upstream) fn shares(endpoints: &[Endpoint]) -> Vec<u16> {
    let total: i64 = endpoints.iter().map(|endpoint| i64::from(endpoint.weight)).sum();
    let mut credit = vec![0_i64; endpoints.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (credit, endpoint) in credit.iter_mut().zip(endpoints) {
            *credit += i64::from(endpoint.weight);
        }
        let richest = (0..credit.len()).rev().max_by_key(|&i| credit[i]).unwrap_or(0);
        credit[richest] -= total;
        order.push(u16::try_from(richest).expect("weights bound the number of endpoints"));
    }
    order
}
