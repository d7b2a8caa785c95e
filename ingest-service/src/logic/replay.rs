//! Which position may be stored after an event.
//!
//! On channels with enrichment or several entities, events of one transaction can share a replay id. A position says
//! "everything up to here", so there it may move to an id only when a later one has shown that no sibling is missing.

/// Follows a stream and says how far it is safe to go on from.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    siblings: bool,
    /// The newest id; siblings may still come.
    open: Option<String>,
}

impl Progress {
    /// For a channel. Only the plain channel of one standard entity never repeats a replay id.
    #[must_use]
    pub fn of_channel(channel: &str) -> Self {
        let plain = channel.ends_with("ChangeEvent") && !channel.ends_with("__chn");
        Self {
            siblings: !plain,
            open: None,
        }
    }

    /// After an event with this id: the position that may be stored, when it moves.
    pub fn event(&mut self, replay_id: &str) -> Option<String> {
        if !self.siblings {
            return Some(replay_id.to_owned());
        }
        match &self.open {
            Some(open) if open == replay_id => None,
            _ => self.open.replace(replay_id.to_owned()),
        }
    }

    /// The stream starts again at its earliest event: what was open is no position there.
    pub fn lost(&mut self) {
        self.open = None;
    }

    /// Nothing more up to here.
    pub fn keepalive(&mut self, replay_id: &str) -> String {
        self.open = None;
        replay_id.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_channel_moves_with_every_event() {
        let mut progress = Progress::of_channel("/data/UserChangeEvent");
        assert_eq!(progress.event("a").as_deref(), Some("a"));
        assert_eq!(progress.event("b").as_deref(), Some("b"));
    }

    #[test]
    fn siblings_are_complete_only_when_another_id_has_come() {
        for channel in ["/data/People__chn", "/data/ChangeEvents"] {
            let mut progress = Progress::of_channel(channel);
            assert_eq!(progress.event("a"), None, "{channel}");
            assert_eq!(progress.event("a"), None);
            assert_eq!(progress.event("b").as_deref(), Some("a"));
            assert_eq!(progress.keepalive("c"), "c");
            assert_eq!(progress.event("d"), None, "the position is the keepalive's already");
            progress.lost();
            assert_eq!(progress.event("a"), None, "d is no position of this stream any more");
        }
    }
}
