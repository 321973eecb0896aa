//! A session and when the report shows it.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::session::Session;

/// A session and when the report shows it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The session as it is first shown once ended.
    pub session: Arc<Session>,
    /// From when on it is shown without an end; `None`: never.
    pub running_from: Option<DateTime<Utc>>,
    /// From when on it is shown with its end: later than the end for a late row. `None`: never.
    pub ended_from: Option<DateTime<Utc>>,
    /// From when on it is shown no more.
    pub gone_from: DateTime<Utc>,
    /// Whether an answer holds it twice.
    pub twice: bool,
    /// What it is shown as later, and from when on.
    pub amended: Option<(DateTime<Utc>, Arc<Session>)>,
}

/// A row as it stands in one answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shown {
    /// With its end.
    Ended(Arc<Session>),
    /// Without one.
    Running(Arc<Session>),
    /// No session: something that cannot be read.
    Broken(Broken),
}

/// The ways in which a row can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Fewer cells than the schema has columns. In a collection: an array.
    Short,
    /// More cells. In a collection: null.
    Long,
    /// Not an array of cells, or not an object.
    NotARow,
    /// The id is null.
    MissingId,
    /// The end is no date.
    UnreadableDate,
}

impl Broken {
    /// Every way.
    pub const ALL: [Self; 5] = [Self::Short, Self::Long, Self::NotARow, Self::MissingId, Self::UnreadableDate];
}

impl Row {
    /// A session that a test scripted: shown at once and for ever.
    pub fn scripted(session: Session) -> Self {
        let always = DateTime::<Utc>::MIN_UTC;
        Self {
            running_from: Some(always),
            ended_from: session.end.map(|_| always),
            session: session.into(),
            gone_from: DateTime::<Utc>::MAX_UTC,
            twice: false,
            amended: None,
        }
    }

    /// How the row is shown at a time.
    pub fn shown(&self, now: DateTime<Utc>) -> Option<Shown> {
        if now >= self.gone_from {
            return None;
        }
        if self.has_appeared(now) {
            let amended = self.amended.as_ref().filter(|(from, _)| now >= *from);
            let session = amended.map_or(&self.session, |(_, session)| session);
            return Some(Shown::Ended(session.clone()));
        }
        let running = self.running_from.is_some_and(|from| now >= from);
        running.then(|| Shown::Running(self.session.clone()))
    }

    /// Whether the session has ever been shown with its end.
    pub fn has_appeared(&self, now: DateTime<Utc>) -> bool {
        self.ended_from.is_some_and(|from| now >= from)
    }

    /// When the row next changes how it is shown.
    pub fn next_change(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let amended = self.amended.as_ref().map(|(from, _)| *from);
        [self.running_from, self.ended_from, amended, Some(self.gone_from)]
            .into_iter()
            .flatten()
            .filter(|change| *change > now)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_row_runs_ends_is_amended_and_goes() {
        let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let session = Arc::new(Session { id: "1".into(), end: Some(at(20)), ..Session::default() });
        let amended = Arc::new(Session { diagnostic_code: Some("7".into()), ..(*session).clone() });
        let row = Row {
            session: session.clone(),
            running_from: Some(at(10)),
            ended_from: Some(at(25)),
            gone_from: at(60),
            twice: false,
            amended: Some((at(40), amended.clone())),
        };
        assert_eq!(row.shown(at(9)), None);
        assert_eq!(row.shown(at(24)), Some(Shown::Running(session.clone())));
        assert_eq!(row.shown(at(25)), Some(Shown::Ended(session)));
        assert_eq!(row.shown(at(40)), Some(Shown::Ended(amended)));
        assert_eq!(row.shown(at(60)), None);
        let changes: Vec<_> = [0, 10, 25, 40, 60].iter().map(|now| row.next_change(at(*now))).collect();
        assert_eq!(changes, [Some(at(10)), Some(at(25)), Some(at(40)), Some(at(60)), None]);
    }
}
