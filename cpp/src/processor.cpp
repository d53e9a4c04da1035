#include "processor.hpp"

#include <fstream>
#include <initializer_list>
#include <iterator>
#include <sstream>

namespace climlink {
namespace {

// The first value in /proc/cpuinfo under one of these keys.
std::string told(std::initializer_list<const char*> keys) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    for (const char* wanted : keys) {
      if (colon != std::string::npos && key == wanted)
        return line.substr(line.find_first_not_of(" \t", colon + 1));
    }
  }
  return "";
}

}  // namespace

std::string processor_name() {
  std::string name = told({"model name", "cpu model", "CPU part"});
  return name.empty() ? "unknown" : name;
}

std::vector<std::string> processor_flags() {
  std::istringstream words(told({"flags", "Features"}));
  return {std::istream_iterator<std::string>(words), {}};
}

}  // namespace climlink
