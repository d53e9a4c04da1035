// Structure of what libtorch's parser and unpickler are about to read: both recurse, and both
// believe any size they are told.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace climlink {

// What is wrong, such as "nested deeper than 256 levels"; the caller adds file and entry.
class ScanProblem : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Walks a pickle as TorchScript writes it (protocol 2) without making anything of it, and returns
// the qualified names of the classes and functions that it refers to. Throws ScanProblem for other
// instructions, sizes beyond the end, memo numbers out of order and values nested too deeply.
std::vector<std::string> scan_pickle(std::string_view pickle);

// Throws ScanProblem where TorchScript code nests brackets, blocks or operators too deeply for a
// recursive parser.
void scan_code(std::string_view code);

}  // namespace climlink
