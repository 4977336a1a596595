//! `config`: every setting, and where it comes from.

use clap::Args;

use super::{Context, Exit, text};

/// What `config` takes.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub fn run(context: Context, args: ConfigArgs) -> Result<Exit, anyhow::Error> {
    let rows = &context.config.rows;
    if args.json {
        for row in rows {
            text::put(format_args!("{}\n", serde_json::to_string(row)?))?;
        }
        return Ok(Exit::OK);
    }
    text::put(format_args!("# {}\n", context.config.data_dir.join(crate::config::FILE).display()))?;
    let key = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
    let value = rows.iter().map(|row| row.value.len()).max().unwrap_or(0).min(40);
    for row in rows {
        text::put(format_args!(
            "{:<key$}  {:<value$}  {:<11}  {}\n",
            row.key, row.value, row.source, row.variable
        ))?;
    }
    Ok(Exit::OK)
}
