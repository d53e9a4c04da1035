// A package's ahead-of-time compiled artefact (AOTInductor, .pt2) as far as it can be read and
// judged without torch: native code, which runs only where the host pins its SHA-256.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "device.hpp"

namespace climlink {

// What the entry climlink/compiled.json of an artefact says (docs/compiled.md), with its code.
struct CompiledArtefact {
  std::string name;                    // path, for messages
  std::string digest;                  // SHA-256 of the whole file, lower-case hexadecimal
  std::string package_sha256;          // of the package it was made of
  std::string device;                  // "cpu" or "cuda"
  std::string precision;               // "float32" or "bfloat16"
  std::string torch_version;           // such as "2.13.0"
  std::string isa;                     // for readers, such as "avx512"
  std::vector<std::string> cpu_flags;  // that its code needs, as Linux names them
  std::string library;                 // the bytes of its shared object
};

// Reads an artefact. Throws Error: FILE (missing, unreadable, damaged), DIGEST (not
// pinned_sha256, unless that is ""), PACKAGE (no artefact, or one of a newer climlink).
CompiledArtefact read_compiled(const std::string& path, const std::string& pinned_sha256);

// Why this process cannot run an artefact on a device: its libtorch, processor or device is
// another; "" if it can. torch_version: of the backend, "" where it runs no artefacts.
std::string obstacle_here(const CompiledArtefact& artefact, const Device& device,
                          std::string_view torch_version);

// Flags of needed that are not in present, both as Linux names them.
std::vector<std::string> missing_flags(const std::vector<std::string>& needed,
                                       const std::vector<std::string>& present);

}  // namespace climlink
