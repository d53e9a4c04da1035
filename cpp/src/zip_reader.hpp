// Reads entries of a zip archive held in memory, without torch.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct zip;

namespace climlink {

// An archive over bytes that must outlive it.
class ZipReader {
 public:
  // Throws Error: FILE if truncated or damaged, PACKAGE if it is no zip at all, holds one name
  // twice (in any case: libtorch does not tell case) or would take far more memory than the file.
  // name: for messages.
  ZipReader(std::string_view bytes, std::string name);

  // Reads every entry once to its end, where its CRC is checked; FILE if one fails.
  void check_contents() const;
  bool has(std::string_view suffix) const;
  // Contents of the only entry whose path ends in suffix; PACKAGE if there is none or more than
  // one, FILE if its CRC fails.
  std::string read(std::string_view suffix) const;
  // Bytes of that entry when read.
  std::uint64_t size_of(std::string_view suffix) const;

 private:
  struct Close {
    void operator()(zip* archive) const noexcept;
  };
  std::uint64_t only(std::string_view suffix) const;

  std::string name_;
  std::unique_ptr<zip, Close> archive_;
};

}  // namespace climlink
