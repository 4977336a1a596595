//! `token`: make, list and revoke tokens, through the server if one runs, else in the log.

use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use cody_events::system::Scope;
use cody_events::time::Timestamp;
use serde_json::json;

use super::client::Client;
use super::desk::{Neighbour, person};
use super::{Context, Exit, text};
use crate::api::access::door::{REVOKE, Revocation, TOKENS, TokenList};
use crate::api::access::{Access, CreatedToken, Denied, NewToken, RevokedToken, Token};
use crate::app::{App, AppError};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::entropy::SystemEntropy;
use crate::serve::{STATES, words};
use crate::store::side::SideTables;
use crate::store::sqlite::OpenError;
use crate::store::{Log, SqliteLog};

/// What `token` takes.
#[derive(Debug, Args)]
#[command(after_help = "\
Scopes: read shows jobs, run starts and stops them, approve judges their diffs, admin may do all.
`run` and `approve` imply `read`.

Examples:
  cody-batch token create --name dashboard --scope read --expires 90d
  cody-batch token list
  cody-batch token revoke tok_3f9a1c07d2b4 --reason \"the laptop was lost\"")]
pub struct TokenArgs {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Make a token and print it, this once
    Create(CreateArgs),
    /// List tokens, the newest first
    List {
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// End a token at once
    Revoke {
        /// The token's id, as `token list` shows it
        #[arg(value_name = "ID")]
        token_id: String,
        /// Why, for those who read the log later
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// What to call it, such as who will use it
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it may do: read, run, approve or admin; may be given more than once
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// From when on it is no longer good: 90d, 12h, 30m; without this, it has to be revoked
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Duration>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// Who knows the tokens: the server that was named or that holds the data directory, or this process.
enum Keeper {
    Far(Arc<Client>),
    Server(Neighbour),
    Own(Access),
}

/// Runs the verb.
pub async fn run(context: Context, args: TokenArgs) -> Result<Exit, anyhow::Error> {
    match args.act {
        Act::Create(args) => create(&context, args).await,
        Act::List { json } => list(&context, json).await,
        Act::Revoke { token_id, reason } => revoke(&context, Revocation { token_id, reason }).await,
    }
}

async fn create(context: &Context, args: CreateArgs) -> Result<Exit, anyhow::Error> {
    let expires_at = args.expires.map(|lifetime| {
        let ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        SystemClock.now().plus_millis(ms)
    });
    let wish = NewToken { name: args.name, scopes: args.scopes, expires_at };
    let created: CreatedToken = match Keeper::find(context).await? {
        Keeper::Far(client) => client.post(TOKENS, &wish).await?,
        Keeper::Server(server) => server.client.post(TOKENS, &wish).await?,
        Keeper::Own(access) => access.create(wish, &person()).await.map_err(plain)?,
    };
    if args.json {
        let shown = json!({ "token": created.token, "token_id": created.token_id });
        text::put(format_args!("{shown}\n"))?;
    } else {
        text::put(format_args!("{}\n", created.token.expose()))?;
        eprintln!(
            "This is {}, and it is not shown again. Send it as `Authorization: Bearer …`.",
            created.token_id
        );
    }
    Ok(Exit::OK)
}

async fn list(context: &Context, json: bool) -> Result<Exit, anyhow::Error> {
    let tokens = listed(context).await?;
    if json {
        for token in &tokens {
            text::put(format_args!("{}\n", serde_json::to_string(token)?))?;
        }
        return Ok(Exit::OK);
    }
    if tokens.is_empty() {
        let program = &context.program;
        text::put(format_args!("No token yet. See `{program} token create --help`.\n"))?;
    }
    let now = SystemClock.now();
    for token in &tokens {
        text::put(format_args!("{}\n", line(token, now)))?;
    }
    Ok(Exit::OK)
}

async fn listed(context: &Context) -> Result<Vec<Token>, anyhow::Error> {
    if let Some(client) = &context.far {
        return Ok(client.get::<TokenList>(TOKENS).await?.tokens);
    }
    let dir = &context.config.data_dir;
    if let Some(server) = Neighbour::find(dir).await {
        return Ok(server.client.get::<TokenList>(TOKENS).await?.tokens);
    }
    match SqliteLog::open_to_read(dir) {
        Ok(log) => Ok(open(log, &context.config).await?.list()),
        // Who has no log yet has no tokens, and has done nothing wrong.
        Err(OpenError::Missing(_)) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

async fn revoke(context: &Context, wish: Revocation) -> Result<Exit, anyhow::Error> {
    let revoked: RevokedToken = match Keeper::find(context).await? {
        Keeper::Far(client) => client.post(REVOKE, &wish).await?,
        Keeper::Server(server) => server.client.post(REVOKE, &wish).await?,
        Keeper::Own(access) => {
            access.revoke(&wish.token_id, &wish.reason, &person()).await.map_err(plain)?
        }
    };
    let was = if revoked.is_new { "is revoked" } else { "was revoked already" };
    eprintln!("Token {} {was}.", revoked.token_id);
    Ok(Exit::OK)
}

impl Keeper {
    async fn find(context: &Context) -> Result<Self, anyhow::Error> {
        if let Some(client) = &context.far {
            return Ok(Self::Far(Arc::clone(client)));
        }
        let dir = &context.config.data_dir;
        if let Some(server) = Neighbour::find(dir).await {
            return Ok(Self::Server(server));
        }
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        Ok(Self::Own(open(SqliteLog::open(dir, clock, entropy)?, &context.config).await?))
    }
}

/// The tokens of a log that no server holds.
async fn open(log: SqliteLog, config: &Config) -> Result<Access, AppError> {
    let log = Arc::new(log);
    let side: Arc<dyn SideTables> = Arc::<SqliteLog>::clone(&log);
    let log: Arc<dyn Log> = log;
    let app = App::new(log, Arc::new(SystemClock), Arc::new(SystemEntropy), STATES);
    Access::open(Arc::new(app), side, words(config), None).await
}

/// A rejection stays one, so that it is told with its code.
fn plain(error: AppError) -> anyhow::Error {
    match error {
        AppError::Rejected(no) => no.into(),
        error => error.into(),
    }
}

fn line(token: &Token, now: Timestamp) -> String {
    let day = |at: Timestamp| at.date().to_string();
    let state = match (token.check(now), token.expires_at) {
        (Err(Denied::Revoked), _) => "revoked".to_owned(),
        (Err(_), _) => "expired".to_owned(),
        (Ok(()), Some(end)) => format!("until {}", day(end)),
        (Ok(()), None) => "good".to_owned(),
    };
    let scopes: Vec<&str> = token.scopes.iter().map(Scope::name).collect();
    let used = token.last_used_at.map_or_else(|| "never".to_owned(), day);
    format!(
        "{}  {:<16}  {:<16}  made {} by {}  used {used}  {}",
        token.token_id,
        state,
        scopes.join(","),
        day(token.created_at),
        text::printable(&token.created_by),
        text::printable(&token.name),
    )
}

fn scope(text: &str) -> Result<Scope, String> {
    let found = Scope::ALL.into_iter().find(|scope| scope.name() == text);
    found.ok_or_else(|| "expected read, run, approve or admin".to_owned())
}

/// A number of days, hours or minutes; at most ten years.
fn lifetime(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time of at most ten years, such as 90d, 12h or 30m".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds: u64 = match unit {
        'd' => 24 * 60 * 60,
        'h' => 60 * 60,
        'm' => 60,
        _ => return Err(expected()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| expected())?;
    let lifetime = count.checked_mul(seconds).map(Duration::from_secs);
    let most = Duration::from_secs(3_653 * 24 * 60 * 60);
    lifetime.filter(|lifetime| !lifetime.is_zero() && *lifetime <= most).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_days_hours_or_minutes() {
        let minutes = |text: &str| lifetime(text).map(|lifetime| lifetime.as_secs() / 60);
        assert_eq!(minutes("90d"), Ok(90 * 24 * 60));
        assert_eq!(minutes("12h"), Ok(12 * 60));
        assert_eq!(minutes("30m"), Ok(30));
        for text in
            ["", "d", "0d", "-1d", "1", "1w", "1.5h", "99999d", "18446744073709551615d", "1é"]
        {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }
}
