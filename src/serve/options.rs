//! What each room is given of the configuration. No room is opened or started here.

use std::sync::Arc;

use super::ServeError;
use crate::api::access::Issuer;
use crate::api::control::HouseRules;
use crate::api::mcp;
use crate::claude::client::{Client, ClientOptions};
use crate::claude::models::ModelTable;
use crate::config::Config;
use crate::dispatch::DispatchOptions;
use crate::git::{FetchLimits, WalkBudget};
use crate::plan::{Library, Planning, Words};
use crate::scan::secrets::KnownSecrets;
use crate::wire::WorkerSettings;

/// Where fetched dependencies are, in the data directory.
const DEPENDENCIES: &str = "dependencies";

/// The models and prices that `config` names.
pub fn models(config: &Config) -> Result<ModelTable, ServeError> {
    let table = ModelTable::shipped()?;
    match &config.claude.extra_models {
        None => Ok(table),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| ServeError::Io {
                what: "the file of extra models cannot be read",
                path: path.clone(),
                source,
            })?;
            Ok(table.with_extra(&text)?)
        }
    }
}

pub(super) fn client(config: &Config) -> Result<Client, ServeError> {
    let url = config.claude.base_url.parse().map_err(|_| ServeError::BaseUrl)?;
    let key = config.claude.api_key.clone().ok_or(ServeError::NoKey)?;
    let mut options = ClientOptions::new(url, key);
    options.idle_timeout = config.claude.idle_timeout;
    Ok(Client::new(options)?)
}

/// What planning needs of the configuration.
pub fn planning(config: &Config, models: Arc<ModelTable>) -> Planning {
    Planning {
        job: config.job.clone(),
        git: config.git.clone(),
        models,
        may_fetch: !config.dependencies.registries.is_empty(),
        recipes: Library::new(&config.data_dir),
    }
}

/// What the server's owner lets people do.
pub(super) fn house_rules(config: &Config) -> HouseRules {
    HouseRules {
        max_budget_micros: config.job.max_budget_micros,
        pilot: config.job.pilot,
        own_approval: config.job.own_approval,
    }
}

/// The authorization server whose tokens open the door for assistants.
pub(super) fn issuer(config: &Config) -> Result<Option<Issuer>, ServeError> {
    let access = &config.access;
    let (Some(name), Some(public)) = (&access.oauth_issuer, &access.public_url) else {
        return Ok(None);
    };
    let paths = [mcp::ROUTE, mcp::READONLY];
    let issuer = Issuer::new(name, public, &paths);
    Ok(Some(issuer.map_err(ServeError::Issuer)?))
}

pub(super) fn dispatch_options(config: &Config) -> DispatchOptions {
    DispatchOptions {
        parallel: config.dispatch.parallel.max(1),
        data_dir: config.data_dir.clone(),
        allowed_hosts: config.git.allowed_hosts.clone(),
        github_token: config.git.github_token.clone(),
        token_host: config.git.token_host.clone(),
        fetch_limits: FetchLimits {
            bytes: config.git.fetch_bytes,
            duration: config.git.fetch_timeout,
        },
        walk_budget: walk_budget(config),
        worker: WorkerSettings {
            scan: config.dispatch.scan,
            sandbox: config.sandbox.backends.clone(),
            extra_mounts: config.sandbox.extra_mounts.clone(),
            check_timeout_ms: config.sandbox.check_timeout_ms,
            tool_timeout_ms: config.sandbox.tool_timeout_ms,
            output_bytes: config.sandbox.output_bytes,
            command_memory_bytes: config.sandbox.command_memory_bytes,
            command_processes: config.sandbox.command_processes,
            command_disk_bytes: config.sandbox.command_disk_bytes,
            registries: config.dependencies.registries.clone(),
            dependencies_dir: config.data_dir.join(DEPENDENCIES),
            dependencies_bytes: config.dependencies.bytes,
            new_entries_a_turn: config.tree.new_entries_a_turn,
            new_bytes_a_turn: config.tree.new_bytes_a_turn,
            max_files: config.git.max_files.saturating_mul(5),
        },
    }
}

/// The credentials that this server was given.
pub fn known_secrets(config: &Config) -> KnownSecrets {
    KnownSecrets::new(config.claude.api_key.iter().chain(&config.git.github_token))
}

/// What looks at texts that people write.
pub fn words(config: &Config) -> Words {
    Words::new(config.claude.api_key.iter().chain(&config.git.github_token))
}

/// What a base may weigh.
pub fn walk_budget(config: &Config) -> WalkBudget {
    WalkBudget {
        files: config.git.max_files,
        bytes: config.git.max_bytes,
        file_bytes: config.git.max_file_bytes,
    }
}
