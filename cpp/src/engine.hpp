// What runs a package's forward: its TorchScript graph, or a compiled artefact that the host pins.
#pragma once

#include <string>

#include "device.hpp"
#include "options.hpp"
#include "package.hpp"

namespace climlink {

struct Engine {
  std::string name = "torchscript";  // or "aotinductor": the manifest's backends
  std::string precision = "float32";
  std::string note;     // which artefact runs, or why none does; "" where none was asked for
  std::string library;  // path of its code (shared_object.hpp), "" for TorchScript

  // TorchScript, because the artefact that was asked for cannot run here.
  static Engine instead_of(const std::string& artefact, const std::string& reason);
};

// The engine that options ask for (compiled, compiled_sha256) and this process can run; the code of
// an artefact is loaded. Throws Error: FILE, DIGEST or PACKAGE for an artefact that is not the
// pinned one of this package, ARGUMENT for a pin without a file, BACKEND for a precision that the
// manifest does not allow.
Engine choose_engine(const Options& options, const Package& package, const Device& device);

// What choose_engine would say of an artefact, pinned or not, without loading its code: the reason
// why TorchScript would run, or "". Throws as choose_engine.
std::string obstacle_to(const std::string& artefact, const Package& package, const Device& device);

}  // namespace climlink
