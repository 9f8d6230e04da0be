//! The store goes away: nobody is let in on a session that no gateway could see, and nobody is
//! given the answer that a session has ended when it has not.

use std::sync::Arc;
use std::time::Duration;

use auth::session::TokensOnly;
use auth::{AccountsAt, Allowance};

use crate::harness::{Auth, Redis, settings};

#[tokio::test]
async fn without_its_store_the_service_says_so() {
    let mut redis = Redis::start().await;
    let auth = Auth::with_redis(&redis).await;
    let cookie = auth.login("alice", "wonderland").await.cookie_sent();
    let cookie = [("cookie", cookie.as_str())];
    redis.stop();

    let down = (503, "session_store_unavailable".to_owned());
    let login = auth.login("alice", "wonderland").await;
    assert_eq!(login.refused(), down);
    assert_eq!((login.field("set-cookie"), login.field("retry-after")), ("", "2"));
    for path in ["/auth/refresh", "/auth/logout"] {
        let answer = auth.post(path, &cookie, "").await;
        assert_eq!(answer.refused(), down, "{path}");
        assert_eq!(answer.field("set-cookie"), "", "the cookie stays, to try again");
    }
    assert_eq!(auth.get("/auth/me", &cookie).await.refused(), down);
    let wrong = auth.login("alice", "wrong").await;
    assert_eq!(wrong.refused(), (401, "credentials_invalid".to_owned()));
    assert_eq!(auth.get("/healthz", &[]).await.status, 200);
}

#[tokio::test]
async fn a_failure_of_ours_is_not_counted_as_a_wrong_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.db");
    let mut settings = settings(Arc::new(TokensOnly));
    settings.accounts = AccountsAt::File(file.clone());
    settings.per_account = Allowance { burst: 1, one_back_after: Duration::from_secs(600) };
    let auth = Auth::start(settings).await;

    let other = rusqlite::Connection::open(&file).unwrap();
    other.execute_batch("ALTER TABLE account RENAME TO away").unwrap();
    for _ in 0..3 {
        let refused = auth.login("alice", "wonderland").await.refused();
        assert_eq!(refused, (503, "accounts_unavailable".to_owned()));
    }
    other.execute_batch("ALTER TABLE away RENAME TO account").unwrap();
    assert_eq!(auth.login("alice", "wonderland").await.status, 200);
}
