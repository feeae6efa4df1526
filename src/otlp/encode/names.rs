//! Names of attributes that differ between generations of OpenTelemetry's conventions for generative AI.
//!
//! Packs use the names of today (github.com/open-telemetry/semantic-conventions-genai); a back end that knows older ones
//! gets those. Values are left as they are, but for those that were renamed too.

use crate::config::otlp::GenAiNames;

/// What an attribute is called, from the oldest generation to today's.
const RENAMED: [(GenAiNames, &str, &str); 3] = [
    // semantic-conventions 1.37 replaced `gen_ai.system`.
    (GenAiNames::V1_36, "gen_ai.provider.name", "gen_ai.system"),
    // semantic-conventions-genai renamed it; before 1.41 there was none.
    (GenAiNames::V1_41, "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    (GenAiNames::V1_36, "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
];

/// The name of an attribute in a generation.
pub fn attribute(name: &str, generation: GenAiNames) -> &str {
    let renamed = RENAMED.iter().find(|(of, today, _)| *of == generation && *today == name);
    renamed.map_or(name, |(_, _, then)| then)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_back_end_gets_the_names_it_knows() {
        let names = |generation| {
            ["gen_ai.provider.name", "gen_ai.usage.cache_write.input_tokens", "gen_ai.request.model"]
                .map(|name| attribute(name, generation))
        };
        assert_eq!(
            names(GenAiNames::V1_36),
            ["gen_ai.system", "gen_ai.usage.cache_creation.input_tokens", "gen_ai.request.model"]
        );
        assert_eq!(names(GenAiNames::V1_41)[..2], ["gen_ai.provider.name", "gen_ai.usage.cache_creation.input_tokens"]);
        assert_eq!(names(GenAiNames::Latest)[1], "gen_ai.usage.cache_write.input_tokens");
    }
}
