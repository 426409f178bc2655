//! The scenario's routes on actix-web with actix-session and its Redis store (redis-rs).
//!
//! Environment: `PORT` to listen on, `REDIS_PORT` of the store, `TTL` of a session in seconds, and
//! optionally `RESP` (2 or 3). The session crate is used as published; this file must not reach
//! around it to the store. Every clone signs cookies with the same key, as clones do.

use std::collections::HashMap;
use std::env;
use std::error::Error;

use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::storage::RedisSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::cookie::time::Duration;
use actix_web::web::{Json, Query, get, post};
use actix_web::{App, HttpServer, error};
use serde::Deserialize;
use serde_json::{Value, json};

type Answer = Result<Json<Value>, actix_web::Error>;

#[derive(Deserialize)]
struct Login {
    user: String,
}

#[derive(Deserialize)]
struct Pair {
    k: String,
    v: String,
}

/// The logged-in user, or 401 when the session is anonymous.
fn user_of(session: &Session) -> Result<String, actix_web::Error> {
    let user = session.get("user")?;
    user.ok_or_else(|| error::ErrorUnauthorized("not logged in"))
}

fn data_of(session: &Session) -> Result<HashMap<String, String>, actix_web::Error> {
    Ok(session.get("data")?.unwrap_or_default())
}

async fn login(session: Session, query: Query<Login>) -> Answer {
    session.renew();
    session.insert("user", &query.user)?;
    Ok(Json(json!({ "user": query.user })))
}

async fn whoami(session: Session) -> Answer {
    let user: Option<String> = session.get("user")?;
    Ok(Json(json!({ "user": user, "data": data_of(&session)? })))
}

async fn set(session: Session, pair: Query<Pair>) -> Answer {
    user_of(&session)?;
    let mut data = data_of(&session)?;
    data.insert(pair.k.clone(), pair.v.clone());
    session.insert("data", &data)?;
    Ok(Json(json!({ "data": data })))
}

/// Slides the time to live: the middleware does, on every request.
async fn touch(session: Session) -> Answer {
    Ok(Json(json!({ "user": user_of(&session)? })))
}

async fn regenerate(session: Session) -> Answer {
    let user = user_of(&session)?;
    session.renew();
    Ok(Json(json!({ "user": user })))
}

async fn logout(session: Session) -> Answer {
    session.purge();
    Ok(Json(json!({ "user": null })))
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let redis_port: u16 = env::var("REDIS_PORT")?.parse()?;
    let ttl: i64 = env::var("TTL")?.parse()?;
    let protocol = match env::var("RESP").as_deref() {
        Ok("3") => "?protocol=resp3",
        _ => "",
    };

    let store = RedisSessionStore::new(format!("redis://127.0.0.1:{redis_port}/{protocol}")).await?;
    let app = move || {
        let lifecycle = PersistentSession::default()
            .session_ttl(Duration::seconds(ttl))
            .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
        let sessions = SessionMiddleware::builder(store.clone(), Key::from(&[7; 64]))
            .cookie_secure(false)
            .session_lifecycle(lifecycle)
            .build();
        App::new()
            .wrap(sessions)
            .route("/login", post().to(login))
            .route("/whoami", get().to(whoami))
            .route("/set", post().to(set))
            .route("/touch", get().to(touch))
            .route("/regenerate", post().to(regenerate))
            .route("/logout", post().to(logout))
    };
    HttpServer::new(app).workers(1).bind(("127.0.0.1", port))?.run().await?;
    Ok(())
}
