// What the native subjects have in common: processes of one program that share memory and know when to begin.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "spsc-ring.h"

namespace isthmus {

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::_Exit(1);
}

// CLOCK_MONOTONIC, which all processes share; a double is exact to 2 ns for half a year after the boot.
inline double nowNs() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/** What reading the clock costs: no part of what is timed. */
inline double clockCostNs() {
  double elapsedNs[1001];
  for (double& elapsed : elapsedNs) {
    const double startNs = nowNs();
    elapsed = nowNs() - startNs;
  }
  std::nth_element(std::begin(elapsedNs), std::begin(elapsedNs) + 500, std::end(elapsedNs));
  return elapsedNs[500];
}

inline void sleepMs(double ms) { usleep(static_cast<useconds_t>(ms * 1e3)); }

class Meeting {
 public:
  // All sides of a run give the same number of participants.
  void meet(uint32_t participants = 2) {
    const uint32_t meeting = arrivals_.fetch_add(1) / participants;
    for (uint32_t look = 1; arrivals_.load() / participants == meeting; look++) {
      pauseSpinning();
      if (look % 1024 == 0) sched_yield();
    }
  }

 private:
  alignas(SEPARATION) std::atomic<uint32_t> arrivals_{0};
};

// The sides inherit the mapping; without a name, nothing is left behind however this ends.
template <typename Shared>
Shared* mapShared(size_t extraBytes = 0) {
  const std::string name = "/isthmus-bench-native-" + std::to_string(getpid());
  const size_t byteLength = sizeof(Shared) + extraBytes;
  const int fd = shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  if (fd < 0) fail("shm_open failed");
  shm_unlink(name.c_str());
  if (posix_fallocate(fd, 0, static_cast<off_t>(byteLength)) != 0) fail("no space for the shared memory");
  void* memory = mmap(nullptr, byteLength, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap failed");
  return new (memory) Shared;
}

template <typename Role>
pid_t startSide(Role&& role) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork failed");
  if (pid > 0) return pid;
  // A killed parent takes both sides with it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) std::_Exit(1);
  role();
  std::_Exit(0);
}

// Returns when all sides have ended; if one of them fails, the others are killed.
inline void awaitSides(const std::vector<pid_t>& sides) {
  for (size_t left = sides.size(); left > 0; left--) {
    int status = 0;
    const pid_t ended = wait(&status);
    const bool isRight = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended > 0 && isRight) continue;
    for (const pid_t side : sides) {
      if (side != ended) kill(side, SIGKILL);
    }
    const auto number = std::find(sides.begin(), sides.end(), ended) - sides.begin() + 1;
    fail("side " + std::to_string(number) + " of " + std::to_string(sides.size()) + " failed");
  }
}

template <typename First, typename Second>
void runSides(First&& runFirst, Second&& runSecond) {
  awaitSides({startSide(std::forward<First>(runFirst)), startSide(std::forward<Second>(runSecond))});
}

inline void printSamples(const double* samplesNs, uint32_t count) {
  std::printf("{\"samplesNs\":[");
  for (uint32_t index = 0; index < count; index++) std::printf(index == 0 ? "%.0f" : ",%.0f", samplesNs[index]);
  std::printf("]}\n");
}

}  // namespace isthmus
