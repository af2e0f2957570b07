//! "Your sessions": where somebody is signed in, since when, and how to end it.

use maud::{Markup, html};

use super::{Page, Section, layout};
use crate::output::time::Moment;

/// What kind of thing somebody is signed in on; picks the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Computer,
    Phone,
    Unknown,
}

/// One session of the signed-in user.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The session's id, which is public; never its token.
    pub(crate) id: String,
    pub(crate) device: Device,
    /// `Firefox on Android`
    pub(crate) label: String,
    /// Whether the page was asked for from this session.
    pub(crate) current: bool,
    pub(crate) remembered: bool,
    /// Since when; a row written by other programs need not know.
    pub(crate) signed_in: Option<Moment>,
    pub(crate) last_seen: Option<Moment>,
    pub(crate) expires: Moment,
}

/// All sessions of the user of that name.
pub(crate) fn page(page: &Page<'_>, name: &str, rows: &[Row]) -> Markup {
    layout::whole(page, Section::Sessions, "Your sessions", list(name, rows))
}

fn list(name: &str, rows: &[Row]) -> Markup {
    let others = rows.iter().filter(|row| !row.current).count();
    html! {
        div.sessions-head {
            div {
                h1 { "Your sessions" }
                p.lead {
                    strong { (name) } " is signed in here"
                    @match others {
                        0 => ", and nowhere else.",
                        1 => " and in one other place.",
                        _ => { " and in " (others) " other places." },
                    }
                }
            }
            @if others > 0 {
                form method="post" action="/sessions/end-others" {
                    button.danger type="submit" data-test="end-others" { "End all others" }
                }
            }
        }
        ul.sessions role="list" {
            @for row in rows { li.session.session-this[row.current] data-test="session-row" { (session(row)) } }
        }
        @if others == 0 {
            p.hint {
                strong { "Try it: " }
                "open the shop in a private window or in another browser, sign in as " (name) " there, and load this page again."
            }
        }
    }
}

fn session(row: &Row) -> Markup {
    let picture = match row.device {
        Device::Computer => "computer",
        Device::Phone => "phone",
        Device::Unknown => "unknown-device",
    };
    html! {
        img src={ "/pictures/" (picture) ".svg" } alt="" width="56" height="56";
        div.session-name {
            h2 { (row.label) }
            @if row.current { span.mark data-test="session-current" { "This one" } }
            @if row.remembered { span.mark.mark-quiet { "Remembered" } }
        }
        dl.times {
            div { dt { "Signed in" } dd { (optional(row.signed_in.as_ref())) } }
            div { dt { "Last seen" } dd { (optional(row.last_seen.as_ref())) } }
            div { dt { "Ends" } dd { (moment(&row.expires)) } }
        }
        p.session-id { "Session " code { (row.id) } }
        form.session-end method="post" action="/sessions/end" {
            input type="hidden" name="id" value=(row.id);
            button.quiet-button type="submit" data-test="session-end" {
                @if row.current { "End and sign out" } @else { "End" span.unseen { " the session on " (row.label) } }
            }
        }
    }
}

fn optional(time: Option<&Moment>) -> Markup {
    html! { @match time { Some(time) => { (moment(time)) }, None => { "not known" } } }
}

fn moment(time: &Moment) -> Markup {
    html! { time datetime=(time.machine) { span.relative { (time.relative) } " " span.exact { (time.exact) } } }
}
