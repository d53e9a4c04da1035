// The manifest's text as JSON, before any key but its version is read.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace climlink {

// Refuses what is no JSON, keys that stand twice, depth, and any schema but this one; origin is the
// file named in messages. Throws Error(SCHEMA).
nlohmann::json parse_manifest_json(const std::string& text_of_manifest, const std::string& origin);

}  // namespace climlink
