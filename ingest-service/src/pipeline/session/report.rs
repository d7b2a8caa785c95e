//! What a leadership says about itself: metrics and status.

use usher_runtime::clock;

use super::Session;
use crate::{pipeline::polls, status::Role};

impl Session<'_> {
    pub(super) fn report(&mut self) {
        let (writer, metrics) = (&self.writer, &self.parts.metrics);
        let counts = writer.counts();
        let last = std::mem::replace(&mut self.counted, counts);
        metrics.events.inc_by(counts.events - last.events);
        metrics.undecodable.inc_by(counts.undecodable - last.undecodable);
        metrics.foreign.inc_by(counts.foreign - last.foreign);
        metrics.ignored.inc_by(counts.ignored - last.ignored);
        metrics.messages.inc_by(counts.messages - last.messages);
        metrics.healed.inc_by(counts.healed - last.healed);
        let gauge = |gauge: &prometheus::IntGauge, value: usize| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&metrics.published_users, writer.published());
        gauge(&metrics.owed, writer.owed());
        gauge(&metrics.backlog, writer.backlog());
        metrics.malformed.set(i64::try_from(self.malformed).unwrap_or(i64::MAX));
        gauge(&metrics.suppressed, writer.suppressed());
        gauge(&metrics.held, writer.held_people().0);
        let held_for = writer
            .held_people()
            .1
            .map_or(0, |since| clock::now().duration_since(since).as_secs().max(0));
        metrics.held_seconds.set(held_for);
        metrics.healing_in_a_row.set(i64::from(writer.healing_in_a_row()));
        let snapshot = writer.position().snapshot.clone();
        metrics
            .last_snapshot_timestamp_seconds
            .set(snapshot.as_ref().map_or(0, |snapshot| snapshot.began_at.as_second()));
        let mut problems: Vec<String> = Vec::new();
        let (held, held_since) = writer.held_people();
        if held > 0 {
            let sets = writer.held_sizes();
            problems.push(format!(
                "{held} removals or deactivations are kept back, because one snapshot brought more than {} of them; look at them with `ingest-service \
                 removals`, and release a set with `ingest-service approve {} --reason WHY`",
                writer.removals_limit(),
                sets.keys().next().copied().unwrap_or("ID")
            ));
        }
        if writer.healing_in_a_row() >= 3 {
            problems.push(format!(
                "the last {} rechecks in a row found changes that the stream had not delivered; check the channel and the integration user's permissions",
                writer.healing_in_a_row()
            ));
        }
        let unproven = || writer.snapshot_problem().into_iter().chain(writer.population_problem());
        problems.extend(unproven().map(str::to_owned));
        problems.extend(
            self.read_problem
                .as_ref()
                .map(|problem| format!("re-reading users fails: {problem}")),
        );
        problems.extend(self.survey_problems.iter().flatten().cloned());
        problems.extend(self.polls.problems());
        problems.extend(self.fields.problems());
        problems.extend(self.parts.rest.quota().problems());
        if writer.unseen() > 0 {
            problems.push(format!(
                "{} published people cannot be seen by the integration user, not even as deleted, and stay as they are; grant View All Users",
                writer.unseen()
            ));
        }
        if self.malformed > 0 {
            problems.push(format!(
                "{} records of our own topics cannot be read; see the log for their places",
                self.malformed
            ));
        }
        let is_listing = self.survey.as_ref().is_some_and(|(job, _)| job.listing);
        let progress = self.watch.show(
            writer.survey_progress().map(|(_, rows)| rows),
            snapshot.as_ref().filter(|_| is_listing).map(|snapshot| snapshot.rows),
            clock::now(),
        );
        let mut quota = self.parts.rest.quota().report(metrics);
        quota
            .slowed
            .extend(self.held_up.clone().into_iter().chain(self.polls.held_up()));
        let idle =
            writer.is_idle() && self.survey.is_none() && snapshot.is_some() && polls::is_quiet(&self.polls, writer);
        let healing_in_a_row = writer.healing_in_a_row();
        let (polls, unreadable_fields) = (self.polls.status(), self.fields.unreadable());
        self.parts.status.update(|status| {
            status.role = Role::Leader;
            status.leader = Some(self.parts.address.clone());
            status.published_users = writer.published();
            status.owed_reads = writer.owed();
            status.backlog_records = writer.backlog();
            status.events = counts.events;
            status.undecodable_events = counts.undecodable;
            status.foreign_events = counts.foreign;
            status.healing_in_a_row = healing_in_a_row;
            status.messages = counts.messages;
            status.healed = counts.healed;
            status.held = held;
            status.held_since = held_since;
            status.suppressed = writer.suppressed();
            status.position_committed_at = writer.position().committed_at;
            status.snapshot = progress;
            status.snapshot.running = writer
                .survey_progress()
                .map(|(kind, _)| format!("{kind:?}").to_lowercase());
            status.snapshot.last_complete = snapshot.as_ref().map(|snapshot| snapshot.began_at);
            status.snapshot.last_rows = snapshot.as_ref().map(|snapshot| snapshot.rows);
            status.snapshot.problem = unproven().next().map(str::to_owned);
            status.polls = polls;
            status.quota = quota;
            status.unreadable_fields = unreadable_fields;
            status.problems = problems;
            status.idle = idle;
        });
        self.parts.readiness.met("leadership");
    }
}
