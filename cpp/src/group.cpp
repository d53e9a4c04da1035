#include "group.hpp"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "backend.hpp"

namespace climlink {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr std::size_t cache_line = 64;
constexpr std::size_t longest_text = 4096;
// Calls are numbered within steps, so that a rank that has left a step is past all the calls of it
// that others may wait in.
constexpr std::int64_t calls_per_step = 1024;
constexpr std::int64_t out_of_step = calls_per_step - 1;

// A rank that waits looks at the flags without pause for some 20 us, then sleeps between looks for
// a fiftieth of what it has waited: the core is free for whoever works.
constexpr int eager_looks = 1000;
constexpr double share_of_sleep = 0.02;
constexpr microseconds shortest_sleep{50}, longest_sleep{2000};
constexpr std::chrono::milliseconds between_checks{100};

// A message for all ranks, readable once number is set.
struct Notice {
  std::atomic<std::int64_t> number;  // of the call that it is about; 0: none yet
  std::int32_t status;
  char text[longest_text];

  void write(std::int64_t of_call, climlink_status what, const char* message) noexcept {
    status = what;
    std::snprintf(text, longest_text, "%s", message);
    number.store(of_call, std::memory_order_release);
  }
  bool is_of(std::int64_t call) const noexcept {
    return number.load(std::memory_order_acquire) >= call;
  }
};

// What one rank shows the others.
struct alignas(cache_line) Seat {
  std::atomic<std::int64_t> arrived;  // number of the call that it has come to; 0: none yet
  std::atomic<std::int32_t> call;     // which call that is
  std::atomic<std::int32_t> process;
  std::atomic<std::int32_t> has_left;  // the group, for good
  std::int32_t host_rank;
  // Columns in an even and an odd step: who is already in the next step leaves this one's alone.
  std::array<std::int64_t, 2> n_column;
};

static_assert(std::atomic<std::int64_t>::is_always_lock_free &&
              std::atomic<std::int32_t>::is_always_lock_free);

const char* name_of_call(Group::Call call) {
  constexpr std::array<const char*, 6> names = {"", "open", "begin", "run", "range_use", "close"};
  return names[static_cast<std::size_t>(call)];
}

// False where the process has ended: there is none of that number, or only its exit code is left.
bool is_alive(std::int32_t process) {
  if (kill(process, 0) != 0 && errno == ESRCH) return false;
  const std::string path = text("/proc/", process, "/stat");
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "r"),
                                                             std::fclose);
  if (file == nullptr) return true;  // a system without /proc
  std::array<char, 512> line{};
  if (std::fgets(line.data(), static_cast<int>(line.size()), file.get()) == nullptr) return true;
  const char* end_of_name = std::strrchr(line.data(), ')');
  if (end_of_name == nullptr || end_of_name[1] != ' ') return true;
  return end_of_name[2] != 'Z' && end_of_name[2] != 'X';
}

std::int64_t whole_lines(std::int64_t bytes) {
  constexpr auto line = static_cast<std::int64_t>(cache_line);
  return (bytes + line - 1) / line * line;
}

}  // namespace

// All zero before the first rank writes.
struct GroupMemory {
  Notice answer;    // what became of the leader's part of a call
  Notice farewell;  // why the leader has left a step
  std::atomic<std::int32_t> is_breaking;
  Notice broken;  // why the group cannot go on
  char device[32];
  char engine[32];
  char precision[32];
  char note[1024];
  double golden_difference;

  Seat& seat(int rank) {
    return reinterpret_cast<Seat*>(reinterpret_cast<std::byte*>(this) + offset)[rank];
  }
  static const std::size_t offset;
};
const std::size_t GroupMemory::offset = static_cast<std::size_t>(whole_lines(sizeof(GroupMemory)));

std::int64_t group_memory_bytes(int size) {
  return static_cast<std::int64_t>(GroupMemory::offset +
                                   sizeof(Seat) * static_cast<std::size_t>(size));
}

Group::Group(const climlink_group& place, std::int32_t timeout_s)
    : place_(place), timeout_(timeout_s), memory_(static_cast<GroupMemory*>(place.control)) {
  if (place.size < 1 || place.rank < 0 || place.rank >= place.size)
    fail(CLIMLINK_ERROR_ARGUMENT, "group: rank ", place.rank, " of ", place.size,
         "; expected a rank from 0 and below the number of ranks");
  if (place.control == nullptr || place.allocate == nullptr)
    fail(CLIMLINK_ERROR_ARGUMENT, "group: control or allocate is a null pointer");
  if (reinterpret_cast<std::uintptr_t>(place.control) % cache_line != 0)
    fail(CLIMLINK_ERROR_ARGUMENT, "group: control is not aligned to ", cache_line, " bytes");
  seen_.assign(static_cast<std::size_t>(place.size), false);
  first_.assign(static_cast<std::size_t>(place.size) + 1, 0);
  Seat& mine = memory_->seat(place.rank);
  mine.host_rank = place.host_rank;
  mine.process = static_cast<std::int32_t>(getpid());
}

std::int64_t Group::number() const { return step_ * calls_per_step + call_; }

void Group::arrive(Call call) {
  throw_if_broken();
  Seat& mine = memory_->seat(place_.rank);
  mine.call.store(static_cast<std::int32_t>(call), std::memory_order_relaxed);
  mine.arrived.store(number(), std::memory_order_release);
}

bool Group::has_arrived(int rank) const {
  return memory_->seat(rank).arrived.load(std::memory_order_acquire) >= number();
}

int Group::missing(Call call) {
  for (int rank = 0; rank < place_.size; ++rank) {
    if (has_arrived(rank)) continue;
    if (has_left(rank) && !has_arrived(rank))
      give_up(text(name_of(rank), " has closed the emulator, but rank ", place_.host_rank,
                   " called ", name_of_call(call)));
    return rank;
  }
  return -1;
}

bool Group::has_left(int rank) const {
  return memory_->seat(rank).has_left.load(std::memory_order_acquire) != 0;
}

// Fails where a rank makes another call in this one's place.
bool Group::is_here(int rank, Call call) const {
  const Seat& seat = memory_->seat(rank);
  if (seat.arrived.load(std::memory_order_acquire) != number()) return false;
  const auto its = static_cast<Call>(seat.call.load(std::memory_order_relaxed));
  if (its == call) return true;
  fail(CLIMLINK_ERROR_STATE, name_of(rank), " called ", name_of_call(its), " where rank ",
       place_.host_rank, " called ", name_of_call(call),
       ": the ranks of a group make the same calls in the same order");
}

std::string Group::name_of(int rank) const {
  const Seat& seat = memory_->seat(rank);
  return text("rank ", seat.host_rank, " (process ", seat.process.load(), ")");
}

void Group::open(const std::function<void()>& load) {
  arrive(Call::open);
  if (leads())
    lead(load);
  else
    follow(Call::open);
}

void Group::tell(const GroupNetwork& network) {
  const auto put = [](auto& place, const std::string& what) {
    std::snprintf(place, sizeof place, "%s", what.c_str());
  };
  put(memory_->device, network.device);
  put(memory_->engine, network.engine.name);
  put(memory_->precision, network.engine.precision);
  put(memory_->note, network.engine.note);
  memory_->golden_difference = network.golden_difference;
}

GroupNetwork Group::told() const {
  const Engine engine{memory_->engine, memory_->precision, memory_->note, ""};
  return {memory_->device, engine, memory_->golden_difference};
}

void Group::next_step() {
  ++step_;
  call_ = 0;
  memory_->seat(place_.rank).n_column[static_cast<std::size_t>(step_ % 2)] = 0;
}

Group::Rows Group::begin(std::int64_t n_column, std::int64_t n_input, std::int64_t n_output) {
  const auto parity = static_cast<std::size_t>(step_ % 2);
  memory_->seat(place_.rank).n_column[parity] = n_column;
  arrive(Call::begin);
  await(Call::begin, [this] { return missing(Call::begin); });
  for (int rank = 0; rank < place_.size; ++rank) {
    const Seat& seat = memory_->seat(rank);
    const auto i = static_cast<std::size_t>(rank);
    first_[i + 1] = first_[i] + seat.n_column[parity];
    if (!seen_[i]) seen_[i] = is_alive(seat.process);
  }
  if (first_.back() > capacity_) allocate(first_.back(), n_input, n_output);
  return rows(first_[static_cast<std::size_t>(place_.rank)], n_column);
}

// Every rank sees the same counts and so comes here or does not.
void Group::allocate(std::int64_t total, std::int64_t n_input, std::int64_t n_output) {
  capacity_ = 0;
  n_input_ = n_input;
  n_output_ = n_output;
  const std::int64_t bytes =
      whole_lines(total * range_use_width * static_cast<std::int64_t>(sizeof(double))) +
      whole_lines(total * n_input * static_cast<std::int64_t>(sizeof(float))) +
      total * n_output * static_cast<std::int64_t>(sizeof(float));
  shared_ = static_cast<std::byte*>(place_.allocate(place_.context, bytes));
  if (shared_ == nullptr)
    fail(
        CLIMLINK_ERROR_INTERNAL, "out of shared memory: the ", total, " columns of the group's ",
        place_.size, " ranks need ", bytes,
        " bytes (in /dev/shm or the MPI library's own folder). Use smaller groups, or more memory");
  capacity_ = total;
}

Group::Rows Group::rows(std::int64_t first, std::int64_t n_column) const {
  const std::int64_t use_bytes =
      whole_lines(capacity_ * range_use_width * static_cast<std::int64_t>(sizeof(double)));
  const std::int64_t x_bytes =
      whole_lines(capacity_ * n_input_ * static_cast<std::int64_t>(sizeof(float)));
  if (capacity_ == 0) return {};
  auto* use = reinterpret_cast<double*>(shared_);
  auto* x = reinterpret_cast<float*>(shared_ + use_bytes);
  auto* y = reinterpret_cast<float*>(shared_ + use_bytes + x_bytes);
  return {x + first * n_input_, y + first * n_output_, use + first * range_use_width, n_column};
}

void Group::run(Call call, const Work& work) {
  ++call_;
  arrive(call);
  if (!leads()) return follow(call);
  await(call, [&] { return missing(call); });
  lead([&] { work_on_all(call, work); });
}

// Neighbours that are all in the step go together: usually that is one call for all ranks.
void Group::work_on_all(Call call, const Work& work) {
  for (int from = 0; from < place_.size; ++from) {
    if (!is_here(from, call)) continue;
    int last = from;
    while (last + 1 < place_.size && is_here(last + 1, call)) ++last;
    const std::int64_t first = first_[static_cast<std::size_t>(from)];
    const std::int64_t count = first_[static_cast<std::size_t>(last) + 1] - first;
    if (count > 0) work(rows(first, count));
    from = last;
  }
}

void Group::lead(const std::function<void()>& work) {
  try {
    work();
  } catch (...) {
    explained([this](climlink_status status, const char* message) noexcept {
      memory_->answer.write(number(), status, message);
    });
    throw;
  }
  memory_->answer.write(number(), CLIMLINK_OK, "");
}

void Group::follow(Call call) {
  await(call, [&] { return is_answered(call) ? -1 : 0; });
  const bool left = !memory_->answer.is_of(number());
  const Notice& notice = left ? memory_->farewell : memory_->answer;
  if (notice.status != CLIMLINK_OK)
    fail(static_cast<climlink_status>(notice.status), name_of(0),
         ", which runs the network of this group, failed: ", notice.text);
}

bool Group::is_answered(Call call) {
  const bool went_on =
      has_left(0) || memory_->seat(0).arrived.load(std::memory_order_acquire) > number();
  if (memory_->answer.is_of(number()) || memory_->farewell.is_of(number())) return true;
  if (!went_on) return false;
  fail(CLIMLINK_ERROR_STATE, name_of(0), ", which runs the network of this group, went on without ",
       name_of_call(call), ": the ranks of a group make the same calls in the same order");
}

void Group::leave_step(climlink_status status, const char* message) noexcept {
  const std::int64_t out = step_ * calls_per_step + out_of_step;
  Seat& mine = memory_->seat(place_.rank);
  if (mine.arrived >= out) return;
  if (leads()) memory_->farewell.write(out, status, message);
  mine.arrived.store(out, std::memory_order_release);
}

void Group::leave() {
  memory_->seat(place_.rank).has_left.store(1, std::memory_order_release);
  await(Call::leave, [this] {
    for (int rank = 0; rank < place_.size; ++rank)
      if (!has_left(rank)) return rank;
    return -1;
  });
}

void Group::await(Call call, const std::function<int()>& waits_for) {
  const auto start = Clock::now();
  auto checked = start;
  for (int look = 0;; ++look) {
    const int rank = waits_for();
    if (rank < 0) return;
    if (look < eager_looks) continue;
    throw_if_broken();
    const auto now = Clock::now();
    if (now - checked > between_checks) {
      check_ranks(call);
      checked = now;
    }
    if (timeout_.count() > 0 && now - start > timeout_)
      give_up(text(name_of(rank), " did not come to ", name_of_call(call), " within ",
                   timeout_.count(), " s, for which rank ", place_.host_rank,
                   " waited (option group_timeout_s)"));
    const auto sleep = std::chrono::duration_cast<microseconds>((now - start) * share_of_sleep);
    std::this_thread::sleep_for(std::clamp(sleep, shortest_sleep, longest_sleep));
  }
}

// A process that this one has never seen may live where its number means nothing here (containers
// of their own): of that, only the time limit tells.
void Group::check_ranks(Call call) {
  for (int rank = 0; rank < place_.size; ++rank) {
    const Seat& seat = memory_->seat(rank);
    const auto i = static_cast<std::size_t>(rank);
    if (seat.process == 0 || has_left(rank)) continue;
    if (is_alive(seat.process))
      seen_[i] = true;
    else if (seen_[i])
      give_up(text(name_of(rank), " has ended, while rank ", place_.host_rank, " waited in ",
                   name_of_call(call)));
  }
}

void Group::give_up(const std::string& message) {
  std::int32_t nobody = 0;
  if (memory_->is_breaking.compare_exchange_strong(nobody, 1))
    memory_->broken.write(
        1, CLIMLINK_ERROR_GROUP,
        text(message, ". The group cannot go on: end the program, without waiting for that rank")
            .c_str());
  while (!memory_->broken.is_of(1)) std::this_thread::sleep_for(shortest_sleep);
  throw_if_broken();
  fail(CLIMLINK_ERROR_INTERNAL, message);
}

void Group::throw_if_broken() const {
  if (memory_->broken.is_of(1)) fail(CLIMLINK_ERROR_GROUP, memory_->broken.text);
}

}  // namespace climlink
