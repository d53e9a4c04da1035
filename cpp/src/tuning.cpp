#include "tuning.hpp"

#include <nlohmann/json.hpp>

#include "error.hpp"
#include "json_record.hpp"
#include "package.hpp"

namespace climlink {
namespace {

constexpr std::int64_t tuning_schema = 1;

std::optional<std::int64_t> found(JsonRecord root, const TuningKey& key) {
  std::optional<std::int64_t> micro_batch;
  if (const auto schema = root.integer("schema_version", 1); schema != tuning_schema)
    root.problem("schema_version", text("expected ", tuning_schema, ", got ", schema));
  for (auto& entry : root.records("entries")) {
    const bool fits =
        entry.string("processor") == key.processor && entry.integer("threads", 1) == key.threads &&
        entry.string("package_sha256") == key.package_sha256 &&
        entry.string("engine") == key.engine && entry.string("precision") == key.precision;
    if (fits) micro_batch = entry.integer("micro_batch", 2);
  }
  return micro_batch;
}

}  // namespace

std::optional<std::int64_t> tuned_micro_batch(const std::string& path, const TuningKey& key) {
  const std::string content = read_file(path);
  try {
    const auto document = nlohmann::json::parse(content);
    return found(JsonRecord(document, ""), key);
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_ARGUMENT, path, ": not a file of `climlink bench --tune`: ", error.what());
  }
}

}  // namespace climlink
