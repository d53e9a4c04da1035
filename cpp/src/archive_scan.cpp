#include "archive_scan.hpp"

#include <algorithm>
#include <cstdint>

#include "error.hpp"

namespace climlink {
namespace {

// Modules inside each other take 2 levels each; libtorch itself fails between 10,000 and 100,000.
constexpr int deepest = 256;

// A virtual machine that knows of every value only how deeply it is nested.
class PickleScan {
 public:
  explicit PickleScan(std::string_view bytes) : bytes_(bytes) {}

  std::vector<std::string> run() {
    while (!stopped_) step(static_cast<unsigned char>(take(1)[0]));
    return names_;
  }

 private:
  struct Value {
    int depth = 0;
    bool shared = false;  // is in the memo: growing it there would hide how deep it becomes
  };

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - position_) throw ScanProblem("a value reaches beyond its end");
    const std::string_view part = bytes_.substr(position_, count);
    position_ += count;
    return part;
  }

  std::uint64_t number(int n_byte) {  // little-endian
    std::uint64_t value = 0;
    const std::string_view part = take(static_cast<std::uint64_t>(n_byte));
    for (int i = n_byte; i-- > 0;)
      value = (value << 8U) | static_cast<unsigned char>(part[static_cast<std::size_t>(i)]);
    return value;
  }

  std::string line() {
    const std::size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) throw ScanProblem("a name without an end");
    const std::string text(take(end - position_));
    take(1);
    return text;
  }

  void push(Value value) { stack_.push_back(value); }

  // Takes the last `count` values off the stack and returns the depth of the deepest.
  int pop(std::size_t count) {
    if (count > stack_.size()) throw ScanProblem("an instruction without its values");
    int depth = -1;
    for (; count > 0; --count) {
      depth = std::max(depth, stack_.back().depth);
      stack_.pop_back();
    }
    return depth;
  }

  std::size_t since_mark() {
    if (marks_.empty() || marks_.back() > stack_.size())
      throw ScanProblem("an instruction without its mark");
    const std::size_t count = stack_.size() - marks_.back();
    marks_.pop_back();
    return count;
  }

  void join(std::size_t count) { push({checked(pop(count) + 1)}); }

  // Puts the last `count` values into the one before them.
  void put_into(std::size_t count) {
    const int depth = checked(pop(count) + 1);
    if (stack_.empty()) throw ScanProblem("an instruction without its values");
    if (stack_.back().shared) throw ScanProblem("a value that grows after it was stored");
    stack_.back().depth = std::max(stack_.back().depth, depth);
  }

  static int checked(int depth) {
    if (depth > deepest) throw ScanProblem(text("values nested deeper than ", deepest, " levels"));
    return depth;
  }

  void store(std::uint64_t index) {
    if (index > memo_.size())
      throw ScanProblem(text("memo number ", index, " after ", memo_.size(), " values"));
    if (stack_.empty()) throw ScanProblem("an instruction without its values");
    stack_.back().shared = true;
    if (index == memo_.size()) memo_.emplace_back();
    memo_[index] = stack_.back();
  }

  void fetch(std::uint64_t index) {
    if (index >= memo_.size()) throw ScanProblem(text("memo number ", index, " of ", memo_.size()));
    push(memo_[index]);
  }

  void step(unsigned char instruction);
  bool step_on_data(unsigned char instruction);

  std::string_view bytes_;
  std::size_t position_ = 0;
  bool stopped_ = false;
  std::vector<Value> stack_, memo_;
  std::vector<std::size_t> marks_;
  std::vector<std::string> names_;
};

// Values that stand in the pickle themselves; false for any other instruction.
bool PickleScan::step_on_data(unsigned char instruction) {
  switch (instruction) {
    case 'N':   // NONE
    case 0x88:  // NEWTRUE
    case 0x89:  // NEWFALSE
    case ']':   // EMPTY_LIST
    case ')':   // EMPTY_TUPLE
    case '}':   // EMPTY_DICT
      break;
    case 'K':  // BININT1
      take(1);
      break;
    case 'M':  // BININT2
      take(2);
      break;
    case 'J':  // BININT
      take(4);
      break;
    case 'G':  // BINFLOAT
      take(8);
      break;
    case 0x8a:  // LONG1
      take(number(1));
      break;
    case 'X':  // BINUNICODE
      take(number(4));
      break;
    case 'c': {  // GLOBAL
      const std::string module = line();
      names_.push_back(module + "." + line());
      break;
    }
    default:
      return false;
  }
  push({});
  return true;
}

void PickleScan::step(unsigned char instruction) {
  if (step_on_data(instruction)) return;
  switch (instruction) {
    case 0x80:  // PROTO
      take(1);
      return;
    case '.':  // STOP
      stopped_ = true;
      return;
    case '(':  // MARK
      marks_.push_back(stack_.size());
      return;
    case 'q':  // BINPUT
      return store(number(1));
    case 'r':  // LONG_BINPUT
      return store(number(4));
    case 'h':  // BINGET
      return fetch(number(1));
    case 'j':  // LONG_BINGET
      return fetch(number(4));
    case 't':  // TUPLE
    case 'l':  // LIST
    case 'd':  // DICT
      return join(since_mark());
    case 0x85:  // TUPLE1
    case 'Q':   // BINPERSID
      return join(1);
    case 0x86:  // TUPLE2
    case 'R':   // REDUCE
    case 0x81:  // NEWOBJ
      return join(2);
    case 0x87:  // TUPLE3
      return join(3);
    case 'a':  // APPEND
    case 'b':  // BUILD
      return put_into(1);
    case 's':  // SETITEM
      return put_into(2);
    case 'e':  // APPENDS
    case 'u':  // SETITEMS
      return put_into(since_mark());
    default:
      throw ScanProblem(text("instruction ", static_cast<int>(instruction),
                             ", which TorchScript does not write"));
  }
}

// Length of a string literal that begins at `start`, quotes included.
std::size_t literal_length(std::string_view code, std::size_t start) {
  const std::string one(1, code[start]);
  const std::string quotes = code.substr(start, 3) == one + one + one ? one + one + one : one;
  for (std::size_t i = start + quotes.size(); i < code.size(); ++i) {
    if (code[i] == '\\') {
      ++i;
    } else if (code.substr(i, quotes.size()) == quotes) {
      return i + quotes.size() - start;
    }
  }
  return code.size() - start;
}

std::size_t count_of(std::string_view code, std::string_view word) {
  std::size_t count = 0;
  for (std::size_t at = code.find(word); at != std::string_view::npos;
       at = code.find(word, at + word.size()))
    ++count;
  return count;
}

}  // namespace

std::vector<std::string> scan_pickle(std::string_view pickle) { return PickleScan(pickle).run(); }

void scan_code(std::string_view code) {
  // TorchScript breaks its lines near 80 characters and indents by 2.
  constexpr std::size_t longest = 4096;
  constexpr std::size_t widest = 2 * deepest;
  int depth = 0;
  std::size_t run = 0;  // characters since the last comma or end of statement: operators in a row
                        // have no other bound
  std::size_t indent = 0;  // blanks at the start of this line
  bool at_start = true;
  for (std::size_t i = 0; i < code.size(); ++i) {
    const char c = code[i];
    if (c == '"' || c == '\'') i += literal_length(code, i) - 1;
    if (c == '#') i = std::min(code.find('\n', i), code.size()) - 1;
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    const bool ends = c == '\n' && depth <= 0 && (i == 0 || code[i - 1] != '\\');
    run = ends || c == ',' ? 0 : run + 1;
    at_start = ends || (at_start && (c == ' ' || c == '\t'));
    indent = ends ? 0 : indent + (at_start ? 1 : 0);
    if (depth > deepest || indent > widest)
      throw ScanProblem(text("code nested deeper than ", deepest, " levels"));
    if (run > longest)
      throw ScanProblem(text("an expression of more than ", longest, " characters"));
  }
  if (count_of(code, "elif") > deepest)
    throw ScanProblem(text("more than ", deepest, " branches in a row"));
}

}  // namespace climlink
