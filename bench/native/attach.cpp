// Times mapping an existing segment, by the rules of src/scenarios/attach-time.ts. Prints one line: {"samplesNs":[…]}
//
//   attach byteLength one|all samples      reads one page, or all of them

#include <sys/stat.h>

#include <cstdlib>
#include <cstring>

#include "two-sides.h"

namespace {

using isthmus::fail;
using isthmus::nowNs;

constexpr size_t PAGE_BYTES = 4096;

uint8_t* attach(int fd, size_t byteLength) {
  void* memory = mmap(nullptr, byteLength, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap failed");
  return static_cast<uint8_t*>(memory);
}

}  // namespace

int main(int count, char** texts) {
  if (count != 4) fail("give three arguments; see the head of the source");
  const size_t byteLength = std::strtoul(texts[1], nullptr, 10);
  const size_t pages = std::string(texts[2]) == "one" ? 1 : byteLength / PAGE_BYTES;
  const auto samples = static_cast<uint32_t>(std::strtoul(texts[3], nullptr, 10));
  const int created = memfd_create("isthmus-bench-attach", MFD_CLOEXEC);
  if (created < 0 || posix_fallocate(created, 0, static_cast<off_t>(byteLength)) != 0) fail("no space for the segment");
  std::memset(attach(created, byteLength), 1, byteLength);
  // The same file again, as a name would lead to it; nothing is left behind however this ends.
  const std::string path = "/proc/self/fd/" + std::to_string(created);
  std::vector<double> samplesNs;
  for (uint32_t sample = 0; sample < samples; sample++) {
    const double startNs = nowNs();
    const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat facts {};
    if (fd < 0 || fstat(fd, &facts) != 0) fail("opening failed");
    const auto mappedBytes = static_cast<size_t>(facts.st_size);
    const volatile uint8_t* bytes = attach(fd, mappedBytes);
    size_t sum = 0;
    for (size_t page = 1; page <= pages; page++) sum += bytes[mappedBytes - page * PAGE_BYTES];
    samplesNs.push_back(nowNs() - startNs);
    if (sum != pages) fail("something else stands there than was written");
    munmap(const_cast<uint8_t*>(bytes), mappedBytes);
    close(fd);
  }
  isthmus::printSamples(samplesNs.data(), samples);
  return 0;
}
