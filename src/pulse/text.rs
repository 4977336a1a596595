//! Figures as monitoring systems read them: OpenMetrics, or Prometheus' older text. Every label has a
//! closed list of values; no job, repository or person is one.

use std::collections::BTreeMap;
use std::fmt;

use cody_events::status::{JobStatus, TargetStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Snapshot;
use crate::histogram::Sizes;

/// How figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// What a reader that says `accept` can read.
    pub fn for_accept(accept: Option<&str>) -> Self {
        match accept.is_some_and(|accept| accept.contains("application/openmetrics-text")) {
            true => Self::OpenMetrics,
            false => Self::Prometheus,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

impl Snapshot {
    /// The figures in `format`.
    pub fn written(self, format: Format) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        match format {
            Format::OpenMetrics => text::encode(&mut text, &registry)?,
            Format::Prometheus => prometheus_text::encode(&mut text, &registry)?,
        }
        Ok(text)
    }
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sheet = Sheet(encoder);
        self.write_work(&mut sheet)?;
        self.write_claude(&mut sheet)?;
        self.write_log(&mut sheet)?;
        self.write_doors(&mut sheet)?;
        self.write_process(&mut sheet)
    }
}

impl Snapshot {
    fn write_work(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        const JOBS: [JobStatus; 8] = [
            JobStatus::Queued,
            JobStatus::Running,
            JobStatus::Paused,
            JobStatus::AwaitingReview,
            JobStatus::Succeeded,
            JobStatus::PartlyFailed,
            JobStatus::Failed,
            JobStatus::Cancelled,
        ];
        const TARGETS: [TargetStatus; 4] = [
            TargetStatus::Waiting,
            TargetStatus::Running,
            TargetStatus::Paused,
            TargetStatus::Finished,
        ];
        let of = |number: Option<&u64>| number.copied().unwrap_or_default();
        let jobs = JOBS.map(|status| (status.name(), of(self.census.jobs.get(&status))));
        sheet.gauges("cody_batch_jobs", "Jobs by status", "status", jobs)?;
        let targets = TARGETS.map(|status| (status.name(), of(self.census.targets.get(&status))));
        sheet.gauges("cody_batch_targets", "Targets by status", "status", targets)?;
        let deliveries = self.census.deliveries.iter().map(|(one, count)| (one.name(), *count));
        sheet.gauges("cody_batch_deliveries", "Targets by delivery", "delivery", deliveries)?;
        let help = "Targets that would begin if there were more workers";
        sheet.gauge("cody_batch_targets_ready", help, self.dispatch.ready)?;
        let help = "Jobs that the dispatcher takes care of";
        sheet.gauge("cody_batch_jobs_in_care", help, self.dispatch.jobs)?;
        sheet.gauge("cody_batch_workers", "Workers at work", self.dispatch.workers)?;
        let help = "Workers being started, or whose base is being fetched";
        sheet.gauge("cody_batch_workers_starting", help, self.dispatch.starting)?;
        let tally = &self.tally;
        sheet.counter("cody_batch_jobs_created", "Jobs created", tally.jobs_created)?;
        let help = "Attempts asked for";
        sheet.counter("cody_batch_attempts_requested", help, tally.attempts_requested)?;
        let help = "Attempts that a worker claimed";
        sheet.counter("cody_batch_attempts_started", help, tally.attempts_started)?;
        let help = "Attempts by how they ended";
        sheet.counters("cody_batch_attempts_ended", help, "end", &tally.attempts_ended)?;
        let help = "Rounds of targets by outcome";
        sheet.counters("cody_batch_targets_finished", help, "outcome", &tally.targets_finished)?;
        let help = "Diffs that a person or the policy decided on";
        sheet.counters("cody_batch_reviews", help, "verdict", &tally.reviews)
    }

    fn write_claude(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let tally = &self.tally;
        sheet.gauge("cody_batch_claude_calls_open", "Calls under way", self.open_calls)?;
        let help = "Calls that were permitted";
        sheet.counter("cody_batch_claude_calls", help, tally.calls_permitted)?;
        let help = "Calls without a response, by class";
        sheet.counters("cody_batch_claude_calls_failed", help, "class", &tally.calls_failed)?;
        let help = "Time of calls that were answered";
        sheet.histogram("cody_batch_claude_call_duration", help, &tally.calls_took.sizes())?;
        sheet.counter("cody_batch_turns", "Responses recorded", tally.turns)?;
        let usage = &tally.usage;
        let tokens = BTreeMap::from([
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cache-read", usage.cache_read_tokens),
            ("cache-write-5m", usage.cache_write_5m_tokens),
            ("cache-write-1h", usage.cache_write_1h_tokens),
        ]);
        sheet.counters("cody_batch_tokens", "Tokens by kind", "kind", &tokens)?;
        let cost =
            BTreeMap::from([("known", tally.known_micros), ("assumed", tally.assumed_micros)]);
        let help = "Cost in millionths of a dollar, known from usage or assumed without it";
        sheet.counters("cody_batch_cost_microdollars", help, "basis", &cost)
    }

    fn write_log(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let help = "Time of commits, from the first command to the disk's answer";
        sheet.histogram("cody_batch_log_commit_duration", help, &self.commits)?;
        let help = "Commands that wait for the log's writer";
        sheet.gauge("cody_batch_log_waiting_commands", help, self.waiting_commands)?;
        sheet.counter("cody_batch_events", "Events recorded", self.tally.events)?;
        sheet.gauge("cody_batch_log_position", "Where the log ends", self.lag.log_position)?;
        let help = "How far along the log the views are";
        sheet.gauge("cody_batch_views_position", help, self.lag.views_position)?;
        sheet.gauge(
            "cody_batch_views_lag_events",
            "Events that the views lack",
            self.lag.events(),
        )?;
        let help = "For how long the oldest event that the views lack has been in the log";
        sheet.seconds("cody_batch_views_lag", help, self.lag.time.as_secs_f64())?;
        let help = "Jobs that some projection could not follow";
        sheet.gauge("cody_batch_quarantined_jobs", help, self.census.quarantined_jobs)
    }

    fn write_doors(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let mut metric = sheet.0.encode_descriptor(
            "cody_batch_http_requests",
            "Requests by what they were about and how they were answered",
            None,
            MetricType::Counter,
        )?;
        for requests in &self.requests {
            for (status, count) in &requests.statuses {
                let labels =
                    [("route", requests.class.name().to_owned()), ("status", status.to_string())];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(count, None)?;
            }
        }
        let took = self.requests.iter().map(|one| (one.class.name(), &one.took));
        let help = "Time until the answer began";
        sheet.histograms("cody_batch_http_request_duration", help, "route", took)?;
        let help = "Subscriptions that are open";
        sheet.gauge("cody_batch_subscribers", help, self.open_subscriptions)
    }

    fn write_process(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        if let Some(process) = self.process {
            let (help, unit) = ("Memory that the process holds", Unit::Bytes);
            let mut metric = sheet.0.encode_descriptor(
                "process_resident_memory",
                help,
                Some(&unit),
                MetricType::Gauge,
            )?;
            metric.encode_gauge(&process.resident_bytes)?;
            let help = "Time of processors that the process took";
            let mut metric = sheet.0.encode_descriptor(
                "process_cpu",
                help,
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?;
            metric.encode_counter::<NoLabelSet, _, f64>(&process.cpu_seconds, None)?;
        }
        let mut metric = sheet.0.encode_descriptor(
            "cody_batch_build_info",
            "Which version this is",
            None,
            MetricType::Gauge,
        )?;
        metric.encode_family(&[("version", env!("CARGO_PKG_VERSION"))])?.encode_gauge(&1u64)
    }
}

/// What figures are written on.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn gauge<N>(&mut self, name: &str, help: &str, number: N) -> fmt::Result
    where
        N: prometheus_client::encoding::EncodeGaugeValue,
    {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&number)
    }

    fn seconds(&mut self, name: &str, help: &str, seconds: f64) -> fmt::Result {
        let unit = Unit::Seconds;
        self.0.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?.encode_gauge(&seconds)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        numbers: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, number) in numbers {
            metric.encode_family(&[(label, value)])?.encode_gauge(&number)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, number: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&number, None)
    }

    fn counters<'b, K: AsRef<str> + 'b>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        numbers: impl IntoIterator<Item = (&'b K, &'b u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (value, number) in numbers {
            metric
                .encode_family(&[(label, value.as_ref())])?
                .encode_counter::<NoLabelSet, _, f64>(number, None)?;
        }
        Ok(())
    }

    /// Durations in seconds.
    fn histogram(&mut self, name: &str, help: &str, sizes: &Sizes) -> fmt::Result {
        let unit = Unit::Seconds;
        self.0
            .encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sizes.sum_seconds, sizes.count(), &sizes.counts, None)
    }

    fn histograms<'b>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        histograms: impl IntoIterator<Item = (&'static str, &'b Sizes)>,
    ) -> fmt::Result {
        let unit = Unit::Seconds;
        let mut metric =
            self.0.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (value, sizes) in histograms {
            let (sum, count) = (sizes.sum_seconds, sizes.count());
            metric.encode_family(&[(label, value)])?.encode_histogram::<NoLabelSet>(
                sum,
                count,
                &sizes.counts,
                None,
            )?;
        }
        Ok(())
    }
}
