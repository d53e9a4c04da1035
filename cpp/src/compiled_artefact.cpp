#include "compiled_artefact.hpp"

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "error.hpp"
#include "json_record.hpp"
#include "package.hpp"
#include "processor.hpp"
#include "sha256.hpp"
#include "zip_reader.hpp"

namespace climlink {
namespace {

constexpr const char* metadata_entry = "/extra/climlink/compiled.json";
constexpr const char* library_entry = ".so";
constexpr std::int64_t artefact_schema = 1;

// Keys for readers, of which the runtime acts on nothing.
constexpr std::array descriptive_keys = {"climlink_version", "compiled_on", "compiler",
                                         "compute_capability", "march"};

void read_metadata(JsonRecord record, CompiledArtefact& artefact) {
  if (const auto schema = record.integer("schema_version", 1); schema != artefact_schema)
    record.problem("schema_version",
                   text("expected ", artefact_schema, ", got ", schema, "; update climlink"));
  artefact.package_sha256 = record.string("package_sha256");
  record.choice("backend", {"aotinductor"});
  artefact.device = record.choice("device", {"cpu", "cuda"});
  artefact.precision = record.choice("precision", {"float32", "bfloat16"});
  artefact.torch_version = record.string("torch_version");
  artefact.isa = record.string("isa");
  artefact.cpu_flags = record.strings("cpu_flags");
  for (const char* key : descriptive_keys) record.ignore(key);
  record.finish();
}

std::string joined(const std::vector<std::string>& words) {
  std::string list;
  for (const auto& word : words) list += (list.empty() ? "" : " ") + word;
  return list;
}

}  // namespace

CompiledArtefact read_compiled(const std::string& path, const std::string& pinned_sha256) {
  const std::string bytes = read_file(path);
  CompiledArtefact artefact;
  artefact.name = path;
  artefact.digest = sha256_hex(bytes);
  if (!pinned_sha256.empty() && lower_case(pinned_sha256) != artefact.digest) {
    fail(CLIMLINK_ERROR_DIGEST, path, ": SHA-256 is ", artefact.digest, ", compiled_sha256 pins ",
         lower_case(pinned_sha256),
         ". This is not the artefact the run was set up for: restore it, or pin the new digest on "
         "purpose");
  }
  const ZipReader zip(bytes, path);
  if (!zip.has(metadata_entry)) {
    fail(CLIMLINK_ERROR_PACKAGE, path,
         ": no compiled artefact of a package: it has no entry climlink/compiled.json. Make one "
         "with `climlink compile`");
  }
  try {
    const auto document = nlohmann::json::parse(zip.read(metadata_entry));
    read_metadata(JsonRecord(document, ""), artefact);
  } catch (const nlohmann::json::exception& error) {
    fail(CLIMLINK_ERROR_PACKAGE, path, ": climlink/compiled.json is not JSON: ", error.what());
  } catch (const JsonProblem& problem) {
    fail(CLIMLINK_ERROR_PACKAGE, path, ": climlink/compiled.json is not valid: ", problem.what());
  }
  artefact.library = zip.read(library_entry);
  return artefact;
}

std::vector<std::string> missing_flags(const std::vector<std::string>& needed,
                                       const std::vector<std::string>& present) {
  const std::set<std::string> have(present.begin(), present.end());
  std::vector<std::string> missing;
  std::copy_if(needed.begin(), needed.end(), std::back_inserter(missing),
               [&](const std::string& flag) { return have.count(flag) == 0; });
  return missing;
}

std::string obstacle_here(const CompiledArtefact& artefact, const Device& device,
                          std::string_view torch_version) {
  if (torch_version.empty()) return "this climlink is built with a libtorch that runs no artefacts";
  if (artefact.torch_version != torch_version)
    return text("it was compiled with torch ", artefact.torch_version, ", this is libtorch ",
                torch_version);
  if (artefact.device != device.type())
    return text("it was compiled for ", artefact.device, ", this run is on ", device.text());
  const auto missing = missing_flags(artefact.cpu_flags, processor_flags());
  if (!missing.empty())
    return text("it was compiled for ", artefact.isa, ", this processor lacks ", joined(missing));
  return "";
}

}  // namespace climlink
