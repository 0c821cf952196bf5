//! In which project a new pipeline is: asked for with its name, where the account has several.

use crate::app::App;
use crate::db::drafts::Draft;
use crate::fault::Refused;
use crate::web::console::page::{Mishap, Wrong};
use crate::web::console::show::{Choice, Pick};
use crate::web::console::visitor::{Fields, Visitor};

use super::{OF, form};

/// The field's name.
const FIELD: &str = "projectId";

/// The choice; nothing where there is none. `chosen`: a project's id, empty is the first one.
pub(super) async fn choice(
    app: &App,
    visitor: &Visitor,
    chosen: &str,
    wrong: &Wrong,
) -> Result<Option<form::Part>, Mishap> {
    let all = app.all_projects(&visitor.caller).await?;
    if all.len() < 2 {
        return Ok(None);
    }
    let picks = all.into_iter().map(|project| Pick::new(project.id, project.name, chosen)).collect();
    let choice = Choice::of(FIELD, "Project", picks, wrong);
    Ok(Some(form::Part::Choice(choice.help("Its name is unique there. A pipeline stays in its project."))))
}

/// The project that was chosen, or the first one where nobody asked.
pub(super) async fn chosen(app: &App, visitor: &Visitor, fields: &Fields) -> Result<String, Mishap> {
    let wanted = fields.get(FIELD);
    let all = app.all_projects(&visitor.caller).await?;
    let found = all.into_iter().find(|project| wanted.is_empty() || project.id == wanted);
    Ok(found.ok_or(Refused::NotFound("the project"))?.id)
}

/// Moves a draft of a new pipeline to the project that was chosen; an edit stays where its pipeline is.
pub(super) async fn put(app: &App, visitor: &Visitor, draft: &mut Draft, fields: &Fields) -> Result<(), Mishap> {
    if draft.note(OF).is_none() && !fields.get(FIELD).is_empty() {
        draft.project_id = chosen(app, visitor, fields).await?;
    }
    Ok(())
}
