// Strict reading of one JSON object: every key is required or optional by declaration, and any
// other key is refused.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace climlink {

// What is wrong and where ("golden.sample_count: ..."); manifest.cpp adds the file and the status.
class JsonProblem : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

class JsonRecord {
 public:
  // path is "" for the whole document, otherwise such as "inputs.variables[3]".
  JsonRecord(const nlohmann::json& value, std::string path);

  bool has(const std::string& key) const { return object_.contains(key); }
  bool is_null(const std::string& key) { return member(key).is_null(); }
  JsonRecord record(const std::string& key) { return {member(key), path_of(key)}; }
  std::vector<JsonRecord> records(const std::string& key);
  std::string string(const std::string& key);
  std::int64_t integer(const std::string& key, std::int64_t smallest);
  double positive(const std::string& key);
  std::vector<double> numbers(const std::string& key);
  std::vector<std::string> strings(const std::string& key);
  // One of the texts allowed.
  std::string choice(const std::string& key, const std::vector<std::string>& allowed);
  // Any JSON object, whose keys are names.
  const nlohmann::json& object(const std::string& key);

  // Marks a key as known whose value the runtime does not read; it must be there.
  void ignore(const std::string& key) { member(key); }
  // The same for one that may be absent.
  void optional_ignore(const std::string& key) { known_.insert(key); }
  // Call last: refuses every key not asked for.
  void finish() const;

  [[noreturn]] void problem(const std::string& key, const std::string& what) const;

 private:
  const nlohmann::json& member(const std::string& key);
  std::string path_of(const std::string& key) const {
    return path_.empty() ? key : path_ + "." + key;
  }

  const nlohmann::json& object_;
  std::string path_;
  std::set<std::string> known_;
};

}  // namespace climlink
