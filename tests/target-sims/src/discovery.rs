//! What the server says about itself: ServiceProviderConfig, ResourceTypes, Schemas (RFC 7643 sections 5 to 7).

use serde_json::{Value, json};

use crate::behaviour::Behaviour;
use crate::schema::{Attribute, Extension, GROUP, Kind, Mutability, ResourceType, USER};

/// Follows the switches, so that what is announced is what happens.
pub(crate) fn service_provider_config(behaviour: &Behaviour, base_url: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": behaviour.patch_supported},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": behaviour.filter_supported, "maxResults": behaviour.page_size_max},
        "changePassword": {"supported": false},
        "sort": {"supported": false},
        "etag": {"supported": behaviour.etag_supported},
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A static token in the Authorization header",
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base_url}/ServiceProviderConfig"),
        },
    })
}

pub(crate) fn resource_types(base_url: &str) -> Vec<Value> {
    [&USER, &GROUP]
        .into_iter()
        .map(|kind| {
            let mut described = json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
                "id": kind.name,
                "name": kind.name,
                "endpoint": format!("/{}", kind.endpoint),
                "schema": kind.urn,
                "meta": {
                    "resourceType": "ResourceType",
                    "location": format!("{base_url}/ResourceTypes/{}", kind.name),
                },
            });
            if !kind.extensions.is_empty() {
                let extension = |extension: &Extension| json!({"schema": extension.urn, "required": false});
                described["schemaExtensions"] = kind.extensions.iter().map(extension).collect();
            }
            described
        })
        .collect()
}

pub(crate) fn schemas(base_url: &str) -> Vec<Value> {
    let describe = |urn: &str, name: &str, attributes: &[Attribute]| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": urn,
            "name": name,
            "attributes": attributes.iter().map(attribute).collect::<Vec<Value>>(),
            "meta": {"resourceType": "Schema", "location": format!("{base_url}/Schemas/{urn}")},
        })
    };
    let of_kind = |kind: &ResourceType| {
        let core = describe(kind.urn, kind.name, kind.attributes);
        let extension = |extension: &Extension| describe(extension.urn, "EnterpriseUser", extension.attributes);
        std::iter::once(core).chain(kind.extensions.iter().map(extension))
    };
    [&USER, &GROUP].into_iter().flat_map(of_kind).collect()
}

/// A list of discovery resources in the shape of any other list.
pub(crate) fn listed(resources: &[Value]) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": resources.len(),
        "startIndex": 1,
        "itemsPerPage": resources.len(),
        "Resources": resources,
    })
}

fn attribute(attribute: &Attribute) -> Value {
    let kind = match attribute.kind {
        Kind::Text => "string",
        Kind::Boolean => "boolean",
        Kind::DateTime => "dateTime",
        Kind::Complex(_) => "complex",
    };
    let (mutability, returned) = match attribute.mutability {
        Mutability::ReadWrite => ("readWrite", "default"),
        Mutability::ReadOnly => ("readOnly", "default"),
        Mutability::Immutable => ("immutable", "default"),
        Mutability::WriteOnly => ("writeOnly", "never"),
    };
    let mut described = json!({
        "name": attribute.name,
        "type": kind,
        "multiValued": attribute.multi,
        "required": attribute.required,
        "caseExact": attribute.case_exact,
        "mutability": mutability,
        "returned": returned,
        "uniqueness": if attribute.name == "userName" { "server" } else { "none" },
    });
    let parts = attribute.sub_attributes();
    if !parts.is_empty() {
        described["subAttributes"] = parts.iter().map(self::attribute).collect();
    }
    described
}
