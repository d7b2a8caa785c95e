//! What a person sees: named figures, redrawn in place on a terminal, and a bar for the first sync.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{oracle::Comparison, people::People, world::World};

/// What is counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) people: usize,
    pub(crate) changes: u64,
    pub(crate) published: u64,
    pub(crate) applied: usize,
    ingest_idle: bool,
    targets: Vec<TargetFigures>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct TargetFigures {
    writes: usize,
    pending: usize,
    failed: usize,
    state: String,
}

impl Figures {
    /// Nothing is under way anywhere.
    pub(crate) fn is_quiet(&self) -> bool {
        self.ingest_idle && self.targets.iter().all(|target| target.pending == 0)
    }
    /// What changes as long as there is progress.
    pub(crate) fn work(&self) -> (u64, usize, u64) {
        (self.published, self.applied, self.changes)
    }
    /// People whom a target refuses.
    pub(crate) fn failed(&self) -> usize {
        self.targets.iter().map(|target| target.failed).sum()
    }
}

/// The terminal.
pub(crate) struct View {
    bars: MultiProgress,
    title: ProgressBar,
    header: ProgressBar,
    lines: Vec<ProgressBar>,
    footer: ProgressBar,
    /// When each person last changed, and the delays seen per target.
    changed: HashMap<String, Instant>,
    seen_writes: Vec<u64>,
    external: Vec<HashMap<String, String>>,
    delays: Vec<Vec<Duration>>,
    first: Vec<bool>,
}

impl View {
    pub(crate) fn new(world: &World, quiet: bool) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stdout()
        };
        let bars = MultiProgress::with_draw_target(target);
        let line = || {
            let bar = bars.add(ProgressBar::new(1));
            // The templates are constants of this file.
            bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        };
        let title = line();
        title.set_message(format!(
            "Usher sandbox: a simulated Salesforce org, an embedded Kafka, two SCIM targets. Status: {}  (Ctrl-C ends)",
            world.console
        ));
        title.tick();
        let header = line();
        let lines: Vec<ProgressBar> = world
            .targets
            .iter()
            .map(|_| {
                let bar = bars.add(ProgressBar::new(world.org().user_count() as u64));
                let style = ProgressStyle::with_template("{prefix:<10} {bar:24} {pos:>6} accounts  {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            })
            .collect();
        let footer = line();
        let count = lines.len();
        Self {
            title,
            header,
            footer,
            changed: HashMap::new(),
            seen_writes: vec![0; count],
            external: vec![HashMap::new(); count],
            delays: vec![Vec::new(); count],
            first: vec![true; count],
            lines,
            bars,
        }
    }

    /// People who have just changed.
    pub(crate) fn note_changes(&mut self, changes: Vec<(String, Instant)>) {
        self.changed.extend(changes);
    }

    /// Counts.
    pub(crate) fn look(&mut self, world: &World, people: &People) -> Figures {
        // The sandbox has one org.
        let ingest = world.ingest.get().orgs.into_iter().next().unwrap_or_default();
        let apply = world.apply.snapshot();
        let targets: Vec<TargetFigures> = world
            .targets
            .iter()
            .map(|target| {
                let status = apply
                    .targets
                    .iter()
                    .find(|(name, _)| name.as_str() == target.name)
                    .map(|(_, status)| status);
                let lane = status.and_then(|status| status.lane.as_ref());
                TargetFigures {
                    writes: target.sim.write_count(),
                    // A lane that is not there yet has everything before it.
                    pending: lane.map_or(usize::MAX, |lane| lane.pending),
                    failed: lane.map_or(0, |lane| lane.rejected),
                    state: status.map_or_else(|| "starting".to_owned(), |status| status.state.to_owned()),
                }
            })
            .collect();
        self.measure(world);
        Figures {
            people: world.org().user_count(),
            changes: people.made(),
            published: ingest.messages,
            applied: targets.iter().map(|target| target.writes).sum(),
            ingest_idle: ingest.idle,
            targets,
        }
    }

    /// The delay from a change in the org to the next write about that person, per target.
    fn measure(&mut self, world: &World) {
        for (index, target) in world.targets.iter().enumerate() {
            let new: Vec<_> = target
                .sim
                .writes()
                .into_iter()
                .filter(|write| write.sequence >= self.seen_writes[index])
                .collect();
            for write in new {
                self.seen_writes[index] = write.sequence + 1;
                let Some(resource) = write.resource else { continue };
                if let Some(external) = write.body.as_ref().and_then(|body| body["externalId"].as_str()) {
                    self.external[index].insert(resource.clone(), external.to_owned());
                }
                let changed = self.external[index]
                    .get(&resource)
                    .and_then(|external| self.changed.get(external));
                if let Some(delay) = changed.and_then(|changed| write.started.checked_duration_since(*changed)) {
                    self.delays[index].push(delay);
                }
            }
            let surplus = self.delays[index].len().saturating_sub(500);
            self.delays[index].drain(..surplus);
        }
    }

    fn delay(&self, index: usize, percent: usize) -> String {
        let mut delays = self.delays[index].clone();
        delays.sort_unstable();
        delays
            .get((delays.len() * percent / 100).min(delays.len().saturating_sub(1)))
            .map_or_else(|| "-".to_owned(), |delay| format!("{} ms", delay.as_millis()))
    }

    /// Draws.
    pub(crate) fn show(&mut self, figures: &Figures, equal: &[Comparison]) {
        self.header.set_message(format!(
            "{} people in Salesforce, {} changes made, {} messages published",
            figures.people, figures.changes, figures.published
        ));
        for (index, (line, comparison)) in self.lines.iter().zip(equal).enumerate() {
            let target = &figures.targets[index];
            line.set_prefix(comparison.target);
            line.set_length(comparison.expected as u64);
            line.set_position(comparison.accounts as u64);
            self.first[index] &= target.pending > 0 || comparison.accounts == 0;
            let pending = if target.pending == usize::MAX {
                target.state.clone()
            } else {
                format!("{} pending", target.pending)
            };
            line.set_message(format!(
                "{pending}, {} failed, {} writes, commit to write p50 {} p99 {}{}",
                target.failed,
                target.writes,
                self.delay(index, 50),
                self.delay(index, 99),
                if self.first[index] { "  (first sync)" } else { "" },
            ));
        }
        self.footer.set_message(summary(equal));
    }

    /// Says what differs, by the ids of the people.
    pub(crate) fn explain(&self, equal: &[Comparison]) {
        for comparison in equal {
            for difference in comparison.differences.iter().take(10) {
                tell(&format!("{} {difference}", comparison.target));
            }
        }
    }

    /// The last line stays.
    pub(crate) fn finish(&self, equal: &[Comparison]) {
        let summary = summary(equal);
        let _ = self.bars.clear();
        for bar in self.lines.iter().chain([&self.title, &self.header, &self.footer]) {
            bar.finish();
        }
        tell(&summary);
    }
}

fn summary(equal: &[Comparison]) -> String {
    let same = equal
        .iter()
        .filter(|comparison| comparison.differences.is_empty())
        .count();
    format!("{same} of {} targets equal the org", equal.len())
}

#[expect(
    clippy::print_stderr,
    reason = "words for people beside the JSON line on standard output"
)]
fn tell(words: &str) {
    eprintln!("{words}");
}
