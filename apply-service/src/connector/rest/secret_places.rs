//! Where a description's secrets are, as a policy says it: the path of a file, or the reference that every other secret has.

use std::{collections::BTreeMap, fmt};

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use usher_runtime::secret::SecretRef;

struct Place(SecretRef);

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Words)
    }
}

struct Words;

impl<'de> Visitor<'de> for Words {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the path of a file, or { env: NAME } with the name of an environment variable")
    }
    fn visit_str<E>(self, path: &str) -> Result<Place, E> {
        Ok(Place(SecretRef::File(path.into())))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Place, A::Error> {
        SecretRef::deserialize(MapAccessDeserializer::new(map)).map(Place)
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, SecretRef>, D::Error> {
    let places = BTreeMap::<String, Place>::deserialize(deserializer)?;
    Ok(places.into_iter().map(|(name, place)| (name, place.0)).collect())
}

pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
    let text = |key: &str| {
        serde_json::json!({
            "type": "object", "properties": { key: { "type": "string" } }, "required": [key], "additionalProperties": false
        })
    };
    json_schema!({
        "type": "object",
        "additionalProperties": { "anyOf": [{ "type": "string" }, text("file"), text("env")] },
    })
}
