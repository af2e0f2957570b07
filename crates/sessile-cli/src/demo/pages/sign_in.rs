//! Signing in, with the two people of the demo introduced.

use maud::{Markup, html};

use super::{Page, Section, layout};
use crate::demo::users::USERS;

/// What the form keeps when it is shown again after a failure. Never the password.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attempt<'a> {
    /// The name as it was typed.
    pub(crate) name: &'a str,
    /// Whether the box was ticked.
    pub(crate) remember: bool,
    /// What went wrong, in a sentence.
    pub(crate) error: Option<&'a str>,
}

/// The form; for somebody who is signed in already, a word about it.
pub(crate) fn page(page: &Page<'_>, attempt: &Attempt<'_>) -> Markup {
    let title = if attempt.error.is_some() { "Not signed in: try again" } else { "Sign in" };
    let content = html! {
        div.sign-in {
            div {
                h1 { "Sign in" }
                @if let Some(name) = page.signed_in_as {
                    p.aside { "You are signed in as " strong { (name) } ". Signing in again starts a new session and ends this one." }
                }
                (form(attempt))
            }
            (people())
        }
    };
    layout::whole(page, Section::SignIn, title, content)
}

fn form(attempt: &Attempt<'_>) -> Markup {
    let failed = attempt.error.map(|_| "true");
    let described_by = attempt.error.map(|_| "sign-in-error");
    html! {
        form.panel method="post" action="/sign-in" {
            @if let Some(error) = attempt.error {
                p.flash.danger #sign-in-error role="alert" data-test="sign-in-error" { (error) }
            }
            div.field {
                label for="user" { "Name" }
                input #user type="text" name="user" value=(attempt.name) required maxlength="64"
                    autocomplete="username" autocapitalize="none" spellcheck="false"
                    aria-invalid=[failed] aria-describedby=[described_by];
            }
            div.field {
                label for="password" { "Password" }
                input #password type="password" name="password" required maxlength="256" autocomplete="current-password"
                    aria-invalid=[failed] aria-describedby=[described_by];
            }
            div.tick {
                input #remember type="checkbox" name="remember" value="yes" checked[attempt.remember] aria-describedby="remember-note";
                div {
                    label for="remember" { "Remember me" }
                    p.quiet #remember-note { "Stay signed in on this device when the browser is closed." }
                }
            }
            button.full type="submit" { "Sign in" }
        }
    }
}

fn people() -> Markup {
    html! {
        aside.people aria-labelledby="people" {
            h2 #people { "Two people live here" }
            p.quiet { "Be either of them, or both, in two browsers at once." }
            ul role="list" {
                @for user in &USERS {
                    li {
                        img src={ "/pictures/" (user.id) ".svg" } alt="" width="56" height="56";
                        dl {
                            div { dt { "Name" } dd { code { (user.id) } } }
                            div { dt { "Password" } dd { code { (user.password) } } }
                        }
                    }
                }
            }
        }
    }
}
