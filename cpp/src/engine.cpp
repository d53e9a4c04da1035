#include "engine.hpp"

#include <algorithm>

#include "backend.hpp"
#include "compiled_artefact.hpp"
#include "error.hpp"
#include "shared_object.hpp"

namespace climlink {
namespace {

void require_precision(const Package& package, const std::string& precision) {
  const auto& allowed = package.manifest.allowed_precisions;
  if (std::find(allowed.begin(), allowed.end(), precision) != allowed.end()) return;
  fail(CLIMLINK_ERROR_BACKEND, package.name, ": the manifest does not allow ", precision,
       ". Export it again with that precision, which measures what it costs, or take another");
}

// An artefact of this package in a precision that it allows.
CompiledArtefact artefact_of(const std::string& path, const std::string& pinned_sha256,
                             const Package& package) {
  CompiledArtefact artefact = read_compiled(path, pinned_sha256);
  if (artefact.package_sha256 != package.digest) {
    fail(CLIMLINK_ERROR_PACKAGE, path, ": compiled from a package of SHA-256 ",
         artefact.package_sha256, ", but ", package.name, " has ", package.digest,
         ". Compile this package, or take its own artefact");
  }
  require_precision(package, artefact.precision);
  return artefact;
}

Engine loaded(const CompiledArtefact& artefact) {
  Engine engine;
  engine.name = "aotinductor";
  engine.precision = artefact.precision;
  engine.note = text(artefact.name, ", ", artefact.precision, " for ", artefact.device, " ",
                     artefact.isa, ", SHA-256 ", artefact.digest);
  engine.library = load_shared_object(artefact.library, artefact.digest, artefact.name);
  return engine;
}

}  // namespace

Engine Engine::instead_of(const std::string& artefact, const std::string& reason) {
  Engine engine;
  engine.note = text(artefact, " does not run here: ", reason);
  return engine;
}

Engine choose_engine(const Options& options, const Package& package, const Device& device) {
  const std::string& path = options.text("compiled");
  const std::string& pinned = options.text("compiled_sha256");
  if (path.empty() && !pinned.empty())
    fail(CLIMLINK_ERROR_ARGUMENT, "compiled_sha256 is set, but compiled names no artefact");
  Engine engine;
  if (!path.empty() && pinned.empty()) {
    engine = Engine::instead_of(
        path,
        "it is native code, and compiled_sha256 does not pin it (`climlink inspect` shows "
        "its SHA-256)");
  } else if (!path.empty()) {
    const CompiledArtefact artefact = artefact_of(path, pinned, package);
    std::string reason = obstacle_here(artefact, device, compiled_version());
    if (reason.empty() && !options.text("constraints_off").empty())
      reason = "constraints_off leaves out constraints that are compiled in";
    try {
      engine = reason.empty() ? loaded(artefact) : Engine::instead_of(path, reason);
    } catch (const Error& error) {
      if (error.status() != CLIMLINK_ERROR_BACKEND) throw;
      engine = Engine::instead_of(path, error.what());
    }
  }
  require_precision(package, engine.precision);
  return engine;
}

std::string obstacle_to(const std::string& artefact, const Package& package, const Device& device) {
  return obstacle_here(artefact_of(artefact, "", package), device, compiled_version());
}

}  // namespace climlink
