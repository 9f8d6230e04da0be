//! A secret that is changed without a gap: the current one, and one that still counts beside it.

use super::secret::Secret;
use crate::problem::Problem;
use crate::yaml::At;

/// The shortest secret from which keys are derived, in bytes.
const SECRET_BYTES_MIN: usize = 32;

/// What can't be meant by these two.
pub fn rotation_problems(current: &At<Secret>, previous: Option<&At<Secret>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for secret in [Some(current), previous].into_iter().flatten() {
        let bytes = secret.reveal().len();
        if bytes < SECRET_BYTES_MIN {
            let text = format!("a secret of {bytes} bytes can be guessed");
            let help = "take 32 or more: `openssl rand -hex 32`";
            problems.push(secret.problem(text).help(help));
        }
    }
    if let Some(same) = previous.filter(|it| it.reveal() == current.reveal()) {
        let text = "`previous` is the same secret as `current`";
        problems.push(same.problem(text).help("leave it out until `current` has changed"));
    }
    problems
}
