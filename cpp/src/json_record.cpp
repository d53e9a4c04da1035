#include "json_record.hpp"

#include <algorithm>
#include <utility>

namespace climlink {
namespace {

std::string shown(const nlohmann::json& value) {
  constexpr std::size_t longest = 60;
  const std::string dump = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return dump.size() <= longest ? dump : dump.substr(0, longest) + "...";
}

bool is_number_list(const nlohmann::json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const auto& v) { return v.is_number(); });
}

}  // namespace

JsonRecord::JsonRecord(const nlohmann::json& value, std::string path)
    : object_(value), path_(std::move(path)) {
  if (!value.is_object())
    throw JsonProblem((path_.empty() ? "manifest" : path_) + ": expected an object, got " +
                      shown(value));
}

void JsonRecord::problem(const std::string& key, const std::string& what) const {
  throw JsonProblem(path_of(key) + ": " + what);
}

const nlohmann::json& JsonRecord::member(const std::string& key) {
  known_.insert(key);
  const auto found = object_.find(key);
  if (found == object_.end()) problem(key, "required, but missing");
  return *found;
}

std::vector<JsonRecord> JsonRecord::records(const std::string& key) {
  const auto& list = member(key);
  if (!list.is_array()) problem(key, "expected a list of objects, got " + shown(list));
  std::vector<JsonRecord> result;
  result.reserve(list.size());
  for (std::size_t i = 0; i < list.size(); ++i)
    result.emplace_back(list[i], path_of(key) + "[" + std::to_string(i) + "]");
  return result;
}

std::string JsonRecord::string(const std::string& key) {
  const auto& value = member(key);
  if (!value.is_string()) problem(key, "expected a text, got " + shown(value));
  return value.get<std::string>();
}

std::int64_t JsonRecord::integer(const std::string& key, std::int64_t smallest) {
  const auto& value = member(key);
  // Far above any width or count, and small enough that sums and products of them cannot overflow.
  constexpr std::int64_t largest = 2'000'000'000;
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(largest)
                        : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < smallest) {
    problem(key, "expected a whole number from " + std::to_string(smallest) + " to " +
                     std::to_string(largest) + ", got " + shown(value));
  }
  return value.get<std::int64_t>();
}

double JsonRecord::positive(const std::string& key) {
  const auto& value = member(key);
  if (!value.is_number() || !(value.get<double>() > 0))
    problem(key, "expected a positive number, got " + shown(value));
  return value.get<double>();
}

std::vector<double> JsonRecord::numbers(const std::string& key) {
  const auto& list = member(key);
  if (!is_number_list(list)) problem(key, "expected a list of numbers, got " + shown(list));
  return list.get<std::vector<double>>();
}

std::vector<std::string> JsonRecord::strings(const std::string& key) {
  const auto& list = member(key);
  if (!list.is_array() ||
      !std::all_of(list.begin(), list.end(), [](const auto& v) { return v.is_string(); })) {
    problem(key, "expected a list of texts, got " + shown(list));
  }
  return list.get<std::vector<std::string>>();
}

std::string JsonRecord::choice(const std::string& key, const std::vector<std::string>& allowed) {
  std::string value = string(key);
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    problem(key, "expected one of " + nlohmann::json(allowed).dump() + ", got \"" + value + "\"");
  }
  return value;
}

const nlohmann::json& JsonRecord::object(const std::string& key) {
  const auto& value = member(key);
  if (!value.is_object()) problem(key, "expected an object, got " + shown(value));
  return value;
}

void JsonRecord::finish() const {
  for (const auto& [key, value] : object_.items()) {
    if (known_.count(key) == 0) problem(key, "unknown key, and unknown keys are refused");
  }
}

}  // namespace climlink
