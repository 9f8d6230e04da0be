//! Fields of a request that only a gateway may write, and which of them mean who the client is.

/// Whatever a client wrote there is removed. Those that some proxies or frameworks take for the
/// client's address are among them: upstreams get one address.
const RESERVED: [&str; 23] = [
    "forwarded",
    "forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "x-envoy-external-address",
    "x-azure-clientip",
    "true-client-ip",
    "client-ip",
    // The certificate of a client and those behind it (RFC 9440).
    "client-cert",
    "client-cert-chain",
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "fastly-client-ip",
    "front-end-https",
    "x-url-scheme",
    "x-request-id",
    "x-original-url",
    "x-rewrite-url",
    "proxy",
];

/// The beginnings of such names: what a proxy says of the client, and identity fields.
const RESERVED_PREFIXES: [&str; 2] = ["x-forwarded", "x-streamgate-"];

/// The first bytes of all reserved names, one bit each.
pub const FIRST_BYTES: u128 = first_bytes(&RESERVED) | first_bytes(&RESERVED_PREFIXES);

const fn first_bytes(names: &[&str]) -> u128 {
    let (mut bytes, mut i) = (0, 0);
    while i < names.len() {
        bytes |= 1 << names[i].as_bytes()[0];
        i += 1;
    }
    bytes
}

/// Whether only the gateway may write a field called `name`, in lower case.
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_known_whatever_they_begin_with() {
        for name in RESERVED {
            assert!(is_reserved(name), "{name}");
        }
        assert!(is_reserved("x-streamgate-account"));
        for prefix in RESERVED_PREFIXES {
            assert!(is_reserved(&format!("{prefix}-x")), "{prefix}");
        }
        for name in ["accept", "cookie", "te", "x-kept", "forwarder", "priority", "", "\u{e9}"] {
            assert!(!is_reserved(name), "{name}");
        }
        let added = first_bytes(&["x-real-ip", "true-client-ip", "cf-connecting-ip"]);
        assert_eq!(added, 1 << b'x' | 1 << b't' | 1 << b'c', "another letter is not forgotten");
    }
}
