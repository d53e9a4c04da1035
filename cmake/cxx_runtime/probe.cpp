// Needs the C++ runtime: exceptions, streams and memory.
#include <sstream>
#include <stdexcept>

std::string probe(int number) {
  std::ostringstream text;
  text << number;
  if (number < 0) throw std::runtime_error(text.str());
  return text.str();
}
