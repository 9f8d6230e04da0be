//! What stands in `routes`, for editors: routes, and groups of them.

use super::Route;
use crate::route;
use crate::yaml::groups;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;

/// An item of `routes` as editors know it. Groups are taken apart before anything is made of them
/// ([`groups`]).
pub(super) struct Listed;

impl JsonSchema for Listed {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RouteOrGroup".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let route = generator.subschema_for::<Route>();
        let of_route = Route::json_schema(generator).to_value();
        let of_match = route::Match::json_schema(generator).to_value();
        let some = |names: &'static [&'static str], of: &serde_json::Value| {
            let of = of["properties"].clone();
            names.iter().map(move |name| ((*name).to_owned(), of[*name].clone()))
        };
        let common = some(&groups::OF_MATCH, &of_match).chain(some(&groups::OF_ROUTE, &of_route));
        let common: serde_json::Map<_, _> = common.collect();
        schemars::json_schema!({ "anyOf": [route, {
            "description": "Routes that have something in common.",
            "type": "object",
            "x-group": true,
            "additionalProperties": false,
            "required": ["with", "routes"],
            "properties": {
                "with": {
                    "description": "What all routes of the group have that do not say it \
                                    themselves. Filters come before those of the route.",
                    "type": "object",
                    "additionalProperties": false,
                    "properties": common,
                },
                "routes": {
                    "description": "The routes of the group.",
                    "type": "array",
                    "items": route,
                },
            },
        }] })
    }
}
