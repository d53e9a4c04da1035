#include "manifest_json.hpp"

#include <set>
#include <vector>

#include "error.hpp"
#include "json_record.hpp"
#include "manifest.hpp"

namespace climlink {
namespace {

using nlohmann::json;

// A manifest written by climlink is 7 deep; what is printed of a value in a message recurses once
// per level.
constexpr std::size_t deepest = 64;

// Refuses depth, and keys that stand twice in one object, which different readers would read
// differently. (The callback of json::parse could do it too, but looks through the whole list again
// after every object in it.)
class StrictReader final : public nlohmann::json_sax<json> {
 public:
  bool start_object(std::size_t /*size*/) override { return open(); }
  bool start_array(std::size_t /*size*/) override { return open(); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second)
      throw JsonProblem("the key \"" + name + "\" stands twice in one object");
    return true;
  }
  bool null() override { return true; }
  bool boolean(bool /*value*/) override { return true; }
  bool number_integer(number_integer_t /*value*/) override { return true; }
  bool number_unsigned(number_unsigned_t /*value*/) override { return true; }
  bool number_float(number_float_t /*value*/, const string_t& /*text*/) override { return true; }
  bool string(string_t& /*value*/) override { return true; }
  bool binary(binary_t& /*value*/) override { return true; }
  // Left to json::parse, which says where.
  bool parse_error(std::size_t /*position*/, const std::string& /*token*/,
                   const nlohmann::detail::exception& /*error*/) override {
    return false;
  }

 private:
  bool open() {
    if (keys_.size() >= deepest) throw JsonProblem(text("nested deeper than ", deepest, " levels"));
    keys_.emplace_back();
    return true;
  }
  bool close() {
    keys_.pop_back();
    return true;
  }
  std::vector<std::set<std::string>> keys_;
};

json parse_strictly(const std::string& text_of_manifest) {
  StrictReader reader;
  json::sax_parse(text_of_manifest, &reader);
  return json::parse(text_of_manifest);
}

json parse_json(const std::string& text_of_manifest, const std::string& origin) {
  try {
    return parse_strictly(text_of_manifest);
  } catch (const std::exception& error) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": the manifest is not JSON (", error.what(),
         "). Export the package again");
  }
}

// First of all checks, so that a newer package is called newer and not broken.
void check_version(const json& document, const std::string& origin) {
  const auto version = document.is_object() ? document.find("schema_version") : document.end();
  if (version == document.end() || !version->is_number_integer()) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": the manifest has no integer schema_version; expected ",
         schema_version, ". Export the package again");
  }
  const auto value = version->get<std::int64_t>();
  if (value > schema_version) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": manifest schema ", value, " is newer than the ",
         schema_version, " this climlink ", CLIMLINK_VERSION, " reads; update climlink");
  }
  if (value == 1) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": manifest schema 1 is older than the ", schema_version,
         " this climlink ", CLIMLINK_VERSION,
         " reads; make the package again with `climlink export RUN --output FILE` (or `climlink "
         "import`)");
  }
  if (value < schema_version) {
    fail(CLIMLINK_ERROR_SCHEMA, origin, ": manifest schema ", value,
         " does not exist; this climlink reads ", schema_version);
  }
}

}  // namespace

json parse_manifest_json(const std::string& text_of_manifest, const std::string& origin) {
  json document = parse_json(text_of_manifest, origin);
  check_version(document, origin);
  return document;
}

}  // namespace climlink
