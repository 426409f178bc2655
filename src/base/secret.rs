//! Comparing secrets without telling by the time it takes where they differ.

use std::hint::black_box;

/// Whether `given` is the secret. The time depends on the length of what was given alone, which the giver knows.
pub fn is_same_secret(secret: &[u8], given: &[u8]) -> bool {
    let mut difference = u8::from(secret.len() != given.len());
    for (at, byte) in given.iter().enumerate() {
        // An empty secret has no byte to compare with; its length differs from that of whatever was given.
        let expected = secret.get(at % secret.len().max(1)).copied().unwrap_or_default();
        // The black box keeps the compiler from leaving the loop at the first difference.
        difference = black_box(difference | (expected ^ byte));
    }
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::is_same_secret;

    #[test]
    fn only_the_whole_secret_is_the_same() {
        for (secret, given, same) in [
            ("secret", "secret", true),
            ("secret", "secre", false),
            ("secret", "secrets", false),
            ("secret", "secretsecret", false),
            ("secret", "Secret", false),
            ("secret", "", false),
            ("", "x", false),
            ("", "", true),
        ] {
            assert_eq!(is_same_secret(secret.as_bytes(), given.as_bytes()), same, "{secret:?} {given:?}");
        }
    }
}
