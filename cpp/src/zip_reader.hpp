// Reads entries of a zip archive held in memory, without torch.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct zip;

namespace climlink {

// An archive over bytes that must outlive it. Throws Error: FILE if truncated or damaged, PACKAGE if it is no zip at all.
class ZipReader {
 public:
  // name is used in messages only.
  ZipReader(std::string_view bytes, std::string name);

  // Contents of the only entry whose path ends in suffix; PACKAGE if there is none or more than one, FILE if its CRC fails.
  std::string read(std::string_view suffix) const;

 private:
  struct Close {
    void operator()(zip* archive) const noexcept;
  };
  std::string name_;
  std::unique_ptr<zip, Close> archive_;
};

}  // namespace climlink
