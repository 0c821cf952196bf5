//! What webhooks and e-mail addresses have in common: both are recipients, each resource shows those of its own kind.

use crate::app::App;
use crate::app::recipients::NewRecipient;
use crate::auth::Caller;
use crate::db::recipients::Recipient;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::Sent;

/// A kind of recipients.
pub(super) struct Kind {
    /// As it is stored, and the member that holds the address.
    pub(super) words: (&'static str, &'static str),
    /// What one that is not there is called.
    pub(super) called: &'static str,
}

impl Kind {
    /// All of it, by creation.
    pub(super) async fn all(&self, app: &App, caller: &Caller) -> Result<impl Iterator<Item = Recipient>, Refused> {
        let kind = self.words.0;
        Ok(app.recipients(caller).await?.into_iter().filter(move |recipient| recipient.kind == kind))
    }

    /// The one with this id.
    pub(super) async fn of_id(&self, app: &App, caller: &Caller, id: &str) -> Result<Recipient, Refused> {
        let found = app.recipient(caller, id).await?;
        if found.kind == self.words.0 { Ok(found) } else { Err(Refused::NotFound(self.called)) }
    }

    /// The one that a body describes, with all that is wrong with it at once.
    pub(super) fn sent(&self, app: &App, sent: &Sent) -> Result<NewRecipient, Refused> {
        let mut members = Members::of(sent.body.clone())?;
        let address = members.required_text(self.words.1);
        let events = members.texts("events");
        if events.is_none() {
            members.wrong("events", "is missing");
        }
        let new = members.also(NewRecipient::check(app, self.words, &address, &events.unwrap_or_default()))?;
        members.finish()?;
        new.ok_or_else(|| Refused::failed(format!("{} was neither refused nor accepted", self.called)))
    }
}
