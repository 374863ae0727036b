// Times a pthread mutex in shared memory, by the rules of src/scenarios/lock-handoff.ts. Prints one line.
//
//   mutex normal|robust uncontended targetMs      {"seconds":…,"operations":…}
//   mutex normal|robust contended targetMs        {"seconds":…,"operations":…}
//   mutex normal|robust hand-off samples          {"samplesNs":[…]}
//   mutex robust recovery 1                       {"samplesNs":[…]}    until a waiter has the mutex of a killed owner

#include <errno.h>
#include <pthread.h>

#include <algorithm>
#include <cstdlib>

#include "two-sides.h"

namespace {

using isthmus::fail;
using isthmus::nowNs;

constexpr uint32_t SAMPLES_MAX = 1U << 16;
constexpr uint32_t OPERATIONS_AT_ONCE = 1024;
// Long enough for a waiter to fall asleep.
constexpr double HELD_MS = 0.5;
constexpr double WARM_UP_MS = 50;
constexpr double ASLEEP_MS = 300;

struct Shared {
  alignas(isthmus::SEPARATION) pthread_mutex_t mutex;
  alignas(isthmus::SEPARATION) uint64_t counter = 0;
  alignas(isthmus::SEPARATION) isthmus::Meeting meeting;
  uint64_t operations[2] = {};
  double startNs[2] = {};
  double stopNs[2] = {};
  double unlockedNs = 0;
  alignas(isthmus::SEPARATION) std::atomic<uint32_t> coming{0};
  uint32_t samples = 0;
  double samplesNs[SAMPLES_MAX];

  Shared() { makeMutex(false); }

  void makeMutex(bool isRobust) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    if (isRobust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (pthread_mutex_init(&mutex, &attributes) != 0) fail("making the mutex failed");
  }

  void lock() {
    if (pthread_mutex_lock(&mutex) != 0) fail("locking failed");
  }

  void unlock() {
    if (pthread_mutex_unlock(&mutex) != 0) fail("unlocking failed");
  }
};

void step(Shared& shared, uint64_t count) {
  for (; count > 0; count--) {
    shared.lock();
    *const_cast<volatile uint64_t*>(&shared.counter) = shared.counter + 1;
    shared.unlock();
  }
}

uint64_t stepFor(Shared& shared, double durationMs) {
  uint64_t operations = 0;
  for (const double endNs = nowNs() + durationMs * 1e6; nowNs() < endNs; operations += OPERATIONS_AT_ONCE) {
    step(shared, OPERATIONS_AT_ONCE);
  }
  return operations;
}

void printOperations(double seconds, uint64_t operations) {
  std::printf("{\"seconds\":%.9f,\"operations\":%llu}\n", seconds, static_cast<unsigned long long>(operations));
}

void runUncontended(Shared& shared, double targetMs) {
  const uint64_t before = stepFor(shared, WARM_UP_MS);
  const double startNs = nowNs();
  const uint64_t operations = stepFor(shared, targetMs);
  const double stopNs = nowNs();
  if (shared.counter != before + operations) fail("steps were lost");
  printOperations((stopNs - startNs) / 1e9, operations);
}

// Both do the same number of steps, which is determined while both run.
void runContended(Shared& shared, double targetMs) {
  const auto side = [&](int self) {
    shared.meeting.meet();
    shared.operations[self] = stepFor(shared, WARM_UP_MS);
    shared.meeting.meet();
    const double perMs = static_cast<double>(std::min(shared.operations[0], shared.operations[1])) / WARM_UP_MS;
    const auto operations = static_cast<uint64_t>(perMs * targetMs);
    shared.meeting.meet();
    shared.startNs[self] = nowNs();
    step(shared, operations);
    shared.stopNs[self] = nowNs();
    shared.meeting.meet();
    if (self == 0 && shared.counter != shared.operations[0] + shared.operations[1] + 2 * operations) {
      fail("steps were lost");
    }
    if (self == 0) shared.operations[0] = operations;
  };
  isthmus::runSides([&] { side(0); }, [&] { side(1); });
  const double startNs = std::min(shared.startNs[0], shared.startNs[1]);
  const double stopNs = std::max(shared.stopNs[0], shared.stopNs[1]);
  printOperations((stopNs - startNs) / 1e9, 2 * shared.operations[0]);
}

void runHandOff(Shared& shared, uint32_t samples) {
  const auto holder = [&] {
    for (uint32_t sample = 1; sample <= samples; sample++) {
      shared.lock();
      shared.meeting.meet();
      while (shared.coming.load() != sample) isthmus::pauseSpinning();
      isthmus::sleepMs(HELD_MS);
      shared.unlockedNs = nowNs();
      shared.unlock();
      shared.meeting.meet();
    }
  };
  const auto waiter = [&] {
    for (uint32_t sample = 1; sample <= samples; sample++) {
      shared.meeting.meet();
      shared.coming.store(sample);
      shared.lock();
      shared.samplesNs[sample - 1] = nowNs() - shared.unlockedNs;
      shared.unlock();
      shared.meeting.meet();
    }
  };
  isthmus::runSides(holder, waiter);
  isthmus::printSamples(shared.samplesNs, samples);
}

void runRecovery(Shared& shared) {
  isthmus::startSide([&] {
    shared.lock();
    shared.meeting.meet();
    isthmus::sleepMs(ASLEEP_MS);
    shared.unlockedNs = nowNs();
    kill(getpid(), SIGKILL);
  });
  shared.meeting.meet();
  if (pthread_mutex_lock(&shared.mutex) != EOWNERDEAD) fail("the waiter was not told that the owner died");
  const double elapsedNs = nowNs() - shared.unlockedNs;
  isthmus::printSamples(&elapsedNs, 1);
}

}  // namespace

int main(int count, char** texts) {
  if (count != 4) fail("give three arguments; see the head of the source");
  const std::string kind = texts[1];
  const std::string work = texts[2];
  const double number = std::strtod(texts[3], nullptr);
  Shared& shared = *isthmus::mapShared<Shared>();
  if (kind == "robust") shared.makeMutex(true);
  if (work == "uncontended") {
    runUncontended(shared, number);
  } else if (work == "contended") {
    runContended(shared, number);
  } else if (work == "recovery") {
    runRecovery(shared);
  } else {
    if (number < 1 || number > SAMPLES_MAX) fail("the number of samples is out of range");
    runHandOff(shared, static_cast<uint32_t>(number));
  }
  return 0;
}
