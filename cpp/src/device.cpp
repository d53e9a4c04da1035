#include "device.hpp"

#include <algorithm>
#include <charconv>

#include "error.hpp"

namespace climlink {
namespace {

[[noreturn]] void fail_policy(std::string_view policy) {
  fail(CLIMLINK_ERROR_ARGUMENT, "device \"", policy,
       "\" is not known; expected \"cpu\", \"cuda\", \"cuda:N\" or \"auto\"");
}

int device_number(std::string_view policy, std::string_view digits) {
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  const bool only_digits = !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) {
    return c >= '0' && c <= '9';
  });
  if (!only_digits || error != std::errc() || end != digits.data() + digits.size())
    fail_policy(policy);
  return number;
}

}  // namespace

Device choose_device(std::string_view policy, int local_rank, int device_count) {
  if (local_rank < 0)
    fail(CLIMLINK_ERROR_ARGUMENT, "local_rank is ", local_rank,
         "; expected the rank on this node, 0 or more");
  if (policy == "cpu" || (policy == "auto" && device_count <= 0)) return {false, 0};
  const bool by_rank = policy == "cuda" || policy == "auto";
  constexpr std::string_view prefix = "cuda:";
  if (!by_rank && policy.substr(0, prefix.size()) != prefix) fail_policy(policy);
  const int number = by_rank ? 0 : device_number(policy, policy.substr(prefix.size()));
  if (device_count <= 0) {
    fail(CLIMLINK_ERROR_DEVICE, "device \"", policy,
         "\" was asked for, but this process sees no CUDA device; use \"cpu\" or \"auto\", or "
         "check ",
         "the driver, CUDA_VISIBLE_DEVICES and that this libtorch is built for CUDA");
  }
  if (by_rank) return {true, local_rank % device_count};
  if (number >= device_count) {
    fail(CLIMLINK_ERROR_DEVICE, "device \"", policy, "\" was asked for, but this process sees ",
         device_count, " CUDA device(s), numbered from 0");
  }
  return {true, number};
}

}  // namespace climlink
