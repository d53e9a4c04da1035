// Digest, near names and device choice.
#include <catch2/catch.hpp>

#include "device.hpp"
#include "error.hpp"
#include "near_names.hpp"
#include "sha256.hpp"

using Catch::Matchers::Contains;
using namespace climlink;

TEST_CASE("SHA-256 gives the published digests", "[parts]") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(is_sha256_hex(std::string(64, 'A')));
  CHECK_FALSE(is_sha256_hex(std::string(63, 'a')));
  CHECK_FALSE(is_sha256_hex(std::string(63, 'a') + "g"));
}

TEST_CASE("edit distance counts insertions, deletions and replacements", "[parts]") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("state_t", "state_t") == 0);
}

TEST_CASE("near names lists the closest first and nothing far", "[parts]") {
  const std::vector<std::string_view> names = {"state_q0001", "state_q0002", "state_t", "state_ps",
                                               "cam_in_ASDIR"};
  CHECK_THAT(near_names("state_T", names), Contains("Near names: state_t"));
  CHECK_THAT(near_names("ASDIR", names), Contains("cam_in_ASDIR"));
  CHECK(near_names("zzzzzzzzzzzz", names).empty());
  CHECK(near_names("", names).empty());
}

TEST_CASE("a device is chosen from policy, rank on the node and device count", "[parts]") {
  CHECK(choose_device("cpu", 3, 4).text() == "cpu");
  CHECK(choose_device("auto", 3, 0).text() == "cpu");
  CHECK(choose_device("auto", 5, 4).text() == "cuda:1");
  CHECK(choose_device("cuda", 0, 1).text() == "cuda:0");
  CHECK(choose_device("cuda", 7, 4).text() == "cuda:3");
  CHECK(choose_device("cuda:2", 7, 4).text() == "cuda:2");
  CHECK(choose_device("cuda:2", 7, 4).type() == "cuda");
}

TEST_CASE("a device that is not there, or not known, is refused", "[parts]") {
  const auto status_of = [](std::string_view policy, int rank, int count) {
    try {
      choose_device(policy, rank, count);
    } catch (const Error& error) {
      return error.status();
    }
    return CLIMLINK_OK;
  };
  CHECK(status_of("cuda", 0, 0) == CLIMLINK_ERROR_DEVICE);
  CHECK(status_of("cuda:0", 0, 0) == CLIMLINK_ERROR_DEVICE);
  CHECK(status_of("cuda:4", 0, 4) == CLIMLINK_ERROR_DEVICE);
  for (const char* policy : {"", "gpu", "CPU", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "cuda: 1",
                             "cuda:99999999999", "cpu:0"}) {
    CAPTURE(policy);
    CHECK(status_of(policy, 0, 4) == CLIMLINK_ERROR_ARGUMENT);
  }
  CHECK(status_of("cpu", -1, 4) == CLIMLINK_ERROR_ARGUMENT);
}
