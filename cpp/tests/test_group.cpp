// Ranks that share one network, as threads of one process: the caller's memory in place of MPI's.
#include <barrier>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>
#include <thread>

#include "support.hpp"

using Catch::Matchers::Contains;
using support::Field;
using support::fixture;
using support::Options;

namespace {

constexpr int n_rank = 3;

// What MPI gives: memory that all ranks see, made anew by all of them at once.
class Memory {
 public:
  Memory() : control_(static_cast<std::size_t>(climlink_group_bytes(n_rank)) + 64, std::byte{0}) {}

  climlink_group place(int rank) {
    climlink_group group{};
    group.rank = rank;
    group.size = n_rank;
    group.host_rank = 10 + rank;
    group.control = aligned(control_);
    group.allocate = [](void* self, int64_t bytes) {
      return static_cast<Memory*>(self)->allocate(bytes);
    };
    group.context = this;
    return group;
  }

  int allocations = 0;

 private:
  void* allocate(int64_t bytes) {
    everybody_.arrive_and_wait();
    const std::lock_guard lock(mutex_);
    if (made_++ % n_rank == 0) {
      rows_.assign(static_cast<std::size_t>(bytes) + 64, std::byte{0});
      ++allocations;
    }
    return aligned(rows_);
  }
  static void* aligned(std::vector<std::byte>& bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    return reinterpret_cast<void*>((address + 63) / 64 * 64);
  }

  std::vector<std::byte> control_, rows_;
  std::barrier<> everybody_{n_rank};
  std::mutex mutex_;
  int made_ = 0;
};

// Runs all ranks; Catch2's checks are for one thread, so ranks return what they were told.
std::vector<std::string> on_all_ranks(const std::function<std::string(int)>& run) {
  std::vector<std::string> told(n_rank);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < n_rank; ++rank)
    threads.emplace_back([&, rank] { told[static_cast<std::size_t>(rank)] = run(rank); });
  for (auto& thread : threads) thread.join();
  return told;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

climlink_status open(Memory& memory, int rank, climlink_emulator** emulator,
                     const Options& options = {}) {
  const std::string bytes = support::read_bytes(fixture("tiny.pt"));
  const climlink_group place = memory.place(rank);
  return climlink_open_in_group(bytes.data(), static_cast<int64_t>(bytes.size()), "tiny.pt",
                                options, &place, emulator);
}

}  // namespace

TEST_CASE("ranks take turns with other numbers of columns", "[group]") {
  Memory memory;
  const auto told = on_all_ranks([&](int rank) {
    support::Handle handle;
    if (open(memory, rank, &handle.emulator) != CLIMLINK_OK)
      return std::string(climlink_last_message());
    const std::string message = message_of([&] {
      for (int step = 0; step < 20; ++step) support::one_step(handle, (rank + step) % 4);
    });
    climlink_leave_group(handle);
    return message;
  });
  for (const auto& message : told) CHECK(message == "");
  CHECK(memory.allocations == 2);  // 3, then 6 columns; never smaller again
}

TEST_CASE("who does not come is named", "[group]") {
  Memory memory;
  const auto told = on_all_ranks([&](int rank) {
    support::Handle handle;
    if (open(memory, rank, &handle.emulator, {{"group_timeout_s", "1"}}) != CLIMLINK_OK)
      return std::string(climlink_last_message());
    const std::string first = message_of([&] { support::one_step(handle, 2); });
    if (first != "" || rank == 1) return first;
    if (climlink_begin(handle, 2) != CLIMLINK_ERROR_GROUP) return std::string("it came");
    const std::string second = climlink_last_message();
    return climlink_leave_group(handle) == CLIMLINK_ERROR_GROUP ? second : "left";
  });
  CHECK(told[1] == "");
  for (const int rank : {0, 2})
    CHECK_THAT(told[static_cast<std::size_t>(rank)],
               Contains("rank 11 (process ") && Contains(") did not come to begin within 1 s"));
  CHECK(told[0] == told[2]);
}

TEST_CASE("places that cannot be are refused", "[group]") {
  Memory memory;
  climlink_emulator* emulator = nullptr;
  const std::string bytes = support::read_bytes(fixture("tiny.pt"));
  const auto refuse = [&](climlink_group place, const std::string& words) {
    CHECK(climlink_open_in_group(bytes.data(), static_cast<int64_t>(bytes.size()), "tiny.pt",
                                 nullptr, &place, &emulator) == CLIMLINK_ERROR_ARGUMENT);
    CHECK_THAT(climlink_last_message(), Contains(words));
    CHECK(emulator == nullptr);
  };
  climlink_group place = memory.place(0);
  place.rank = n_rank;
  refuse(place, "rank 3 of 3");
  place = memory.place(0);
  place.control = nullptr;
  refuse(place, "null pointer");
  place = memory.place(0);
  place.control = static_cast<std::byte*>(place.control) + 8;
  refuse(place, "not aligned");
}

TEST_CASE("a process says what memory it takes", "[group]") {
  int64_t resident = 0, share = 0;
  REQUIRE(climlink_process_memory(&resident, &share) == CLIMLINK_OK);
  CHECK(resident > 1'000'000);
  CHECK(share > 0);
  CHECK(share <= resident);
}
