//! `/users` and `/roles`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use super::Listed;
use crate::app::App;
use crate::app::members::Change;
use crate::app::people::role_of;
use crate::auth::Role;
use crate::db::people::Member;
use crate::fault::Refused;
use crate::web::members::Members;
use crate::web::request::{ApiCaller, Ids, Page, Sent};

/// A person of the account.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    user_id: String,
    email: String,
    /// `owner`, `editor`, `viewer`
    role: String,
    disabled: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_seen_at: Option<String>,
}

/// Answer to an invitation.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invited {
    /// the one-time link, valid for seven days; shown only now
    join_url: String,
}

/// A role and what it may.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct RoleView {
    role: &'static str,
    description: &'static str,
}

/// All roles.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Roles {
    results: Vec<RoleView>,
}

fn view(member: Member) -> User {
    User {
        user_id: member.person_id,
        email: member.email,
        role: member.role,
        disabled: member.disabled_at.is_some(),
        created_at: member.created_at.to_string(),
        last_seen_at: member.last_seen_at.map(|at| at.to_string()),
    }
}

/// The roles that people and API clients can have, the least first.
#[utoipa::path(get, path = "/roles", operation_id = "readRoles", tag = "people",
    responses((status = 200, description = "All of them", body = Roles)))]
pub(crate) async fn roles(ApiCaller(_): ApiCaller) -> Json<Roles> {
    let view = |role: Role| RoleView { role: role.as_str(), description: role.may() };
    Json(Roles { results: [Role::Viewer, Role::Editor, Role::Owner].into_iter().map(view).collect() })
}

/// The people of the account, by address. For owners.
#[utoipa::path(get, path = "/users", operation_id = "listUsers", tag = "people",
    responses((status = 200, description = "A page of them", body = Listed<User>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    page: Page,
) -> Result<Json<Listed<User>>, Refused> {
    let (members, _) = app.people(&caller).await?;
    Ok(Json(Listed::page_of(members.into_iter().map(view).collect(), page)))
}

/// Invites someone: a one-time link for that address. The one before, if any, ends.
#[utoipa::path(post, path = "/users", operation_id = "inviteUser", tag = "people",
    request_body(content = ref("#/components/schemas/NewUser"), content_type = "application/json"),
    responses((status = 201, description = "The link", body = Invited)))]
pub(crate) async fn invite(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    sent: Sent,
) -> Result<(StatusCode, Json<Invited>), Refused> {
    let mut members = Members::of(sent.body)?;
    let (email, role) = (members.required_text("email"), members.required_text("role"));
    members.finish()?;
    let join_url = app.invite(&caller, &email, &role).await?;
    Ok((StatusCode::CREATED, Json(Invited { join_url })))
}

/// A person of the account.
#[utoipa::path(get, path = "/users/{id}", operation_id = "readUser", tag = "people",
    responses((status = 200, description = "The person", body = User)))]
pub(crate) async fn read(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<Json<User>, Refused> {
    Ok(Json(view(app.member(&caller, &id).await?.0)))
}

/// Changes role and access: absent is unchanged. All sessions of someone who is disabled end at once.
#[utoipa::path(patch, path = "/users/{id}", operation_id = "changeUser", tag = "people",
    request_body(content = ref("#/components/schemas/UserChange"), content_type = "application/json"),
    responses((status = 200, description = "The person", body = User)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
    sent: Sent,
) -> Result<Json<User>, Refused> {
    let mut members = Members::of(sent.body)?;
    let (role, disabled) = (members.text("role"), members.flag("disabled"));
    let role = members.also(role.as_deref().map(role_of).transpose())?.flatten();
    members.finish()?;
    app.change_member(&caller, &id, Change { role, disabled }).await?;
    Ok(Json(view(app.member(&caller, &id).await?.0)))
}

/// Takes a person out of the account. Its last owner stays.
#[utoipa::path(delete, path = "/users/{id}", operation_id = "removeUser", tag = "people",
    responses((status = 204, description = "They are no member any more")))]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    ApiCaller(caller): ApiCaller,
    Ids(id): Ids<String>,
) -> Result<StatusCode, Refused> {
    app.remove_member(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
