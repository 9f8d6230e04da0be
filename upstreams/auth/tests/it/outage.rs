//! The store goes away: nobody is let in on a session that no gateway could see, and nobody is
//! told that a session has ended when it has not.

use crate::harness::{Auth, Redis};

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
