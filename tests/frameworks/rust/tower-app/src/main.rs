//! The scenario's routes on axum with tower-sessions and its Redis store (fred).
//!
//! Environment: `PORT` to listen on, `REDIS_PORT` of the store, `TTL` of a session in seconds, and
//! optionally `RESP` (2 or 3). The session crates are used as published; this file must not reach
//! around them to the store.

use std::collections::HashMap;
use std::env;
use std::error::Error;

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tower_sessions::cookie::time::Duration;
use tower_sessions::{Expiry, Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{Builder, ClientLike, Config, ReconnectPolicy, ServerConfig};
use tower_sessions_redis_store::fred::types::RespVersion;

type Answer = Result<Json<Value>, StatusCode>;

#[derive(Deserialize)]
struct Login {
    user: String,
}

#[derive(Deserialize)]
struct Pair {
    k: String,
    v: String,
}

fn failure(error: tower_sessions::session::Error) -> StatusCode {
    eprintln!("session error: {error}");
    StatusCode::INTERNAL_SERVER_ERROR
}

/// The logged-in user, or 401 when the session is anonymous.
async fn user_of(session: &Session) -> Result<String, StatusCode> {
    let user = session.get("user").await.map_err(failure)?;
    user.ok_or(StatusCode::UNAUTHORIZED)
}

async fn data_of(session: &Session) -> Result<HashMap<String, String>, StatusCode> {
    Ok(session.get("data").await.map_err(failure)?.unwrap_or_default())
}

async fn login(session: Session, Query(login): Query<Login>) -> Answer {
    session.cycle_id().await.map_err(failure)?;
    session.insert("user", &login.user).await.map_err(failure)?;
    Ok(Json(json!({ "user": login.user })))
}

async fn whoami(session: Session) -> Answer {
    let user: Option<String> = session.get("user").await.map_err(failure)?;
    Ok(Json(json!({ "user": user, "data": data_of(&session).await? })))
}

async fn set(session: Session, Query(pair): Query<Pair>) -> Answer {
    user_of(&session).await?;
    let mut data = data_of(&session).await?;
    data.insert(pair.k, pair.v);
    session.insert("data", &data).await.map_err(failure)?;
    Ok(Json(json!({ "data": data })))
}

async fn touch(session: Session) -> Answer {
    let user = user_of(&session).await?;
    session.save().await.map_err(failure)?;
    Ok(Json(json!({ "user": user })))
}

async fn regenerate(session: Session) -> Answer {
    let user = user_of(&session).await?;
    session.cycle_id().await.map_err(failure)?;
    Ok(Json(json!({ "user": user })))
}

async fn logout(session: Session) -> Answer {
    session.flush().await.map_err(failure)?;
    Ok(Json(json!({ "user": null })))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let redis_port: u16 = env::var("REDIS_PORT")?.parse()?;
    let ttl: i64 = env::var("TTL")?.parse()?;
    let resp3 = env::var("RESP").is_ok_and(|version| version == "3");

    let config = Config {
        server: ServerConfig::new_centralized("127.0.0.1", redis_port),
        version: if resp3 { RespVersion::RESP3 } else { RespVersion::RESP2 },
        ..Config::default()
    };
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_constant(0, 50));
    let pool = builder.build_pool(4)?;
    pool.init().await?;

    let sessions = SessionManagerLayer::new(RedisStore::new(pool))
        .with_secure(false)
        .with_expiry(Expiry::OnInactivity(Duration::seconds(ttl)));
    let app = Router::new()
        .route("/login", post(login))
        .route("/whoami", get(whoami))
        .route("/set", post(set))
        .route("/touch", get(touch))
        .route("/regenerate", post(regenerate))
        .route("/logout", post(logout))
        .layer(sessions);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
