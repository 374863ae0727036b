// The latest value of packages/ring/src/latest: names and numbers of steps as there (layout.ts).
//
// Each access to shared memory is a step of its own, and after each step of a write its writer may be killed. Two words stand for
// the bytes of a value. Left out: the length, wake-ups, and 2^32 writes during one copy.
#include <map>
#include "command.hpp"

namespace models {

constexpr int READERS_MAX = 3, SLOTS_MAX = 5;
// No call of these sizes takes as many steps alone.
constexpr int STEPS_MAX = 60;

enum Mutant {
  NOTHING,
  NO_V1,
  V2_AFTER_V3,
  V3_AFTER_V4,
  NO_R2,
  NO_R4,
  SUCCESSOR_GOES_ON,
  ZERO_NOT_SKIPPED,
  ONE_AFTER_THE_LAST,
  MUTANTS,
};

const char* const mutantNames[MUTANTS] = {
    "nothing",
    "V1 left out",
    "V2 after V3",
    "V3 after V4",
    "R2 left out",
    "R4 left out",
    "a successor goes on after what its predecessor was writing",
    "0 is not skipped",
    "after the last version comes 1",
};

struct Size {
  // `last` stands for 2^32 - 1. `start` is the version of the first value.
  int slots = 2, writes = 4, readers = 2, reads = 2, kills = 1, last = 15, start = 13;
};

enum WriterStep : Byte { IDLE, V1, V2A, V2B, V3, V4 };
enum ReaderStep : Byte { REST, R2, R3A, R3B, R4, AGAIN };

struct Slot { Byte stamp = 0, a = 0, b = 0; };

struct Reader {
  ReaderStep step = REST;
  Byte left = 0, version = 0, a = 0, b = 0;
  // The number of the value that the last read gave, and of the latest one when this read loaded its version.
  Byte seen = 0, latest = 0;
};

struct State {
  Slot slots[SLOTS_MAX];
  Byte current = 0;
  // Of the writer: what it is doing, the number of the value that it writes (each attempt has its own), its own copy of `current`.
  WriterStep step = IDLE;
  Byte number = 0, own = 0, left = 0, kills = 0, isDead = 0;
  // The number of the latest value.
  Byte latest = 0;
  Reader readers[READERS_MAX];
};

class Latest {
 public:
  using State = models::State;
  std::string violation;

  Latest(Size size, Mutant mutant) : size(size), mutant(mutant) {}

  State initial() {
    State s;
    s.slots[size.start % size.slots] = {Byte(size.start), 1, 1};
    s.current = s.own = Byte(size.start);
    s.number = s.latest = 1;
    s.left = Byte(size.writes);
    s.kills = Byte(size.kills);
    for (int i = 0; i < size.readers; i++) s.readers[i].left = Byte(size.reads);
    return s;
  }

  size_t packedBytes() { return sizeof(State); }
  void pack(const State& s, Byte* bytes) { memcpy(bytes, &s, sizeof s); }
  void unpack(const Byte* bytes, State& s) { memcpy((void*)&s, bytes, sizeof s); }

  template <class Take>
  void actions(const State& state, Take take) {
    for (int i = 0; i <= size.readers; i++) {
      State next = state;
      if (step(next, i)) take(actionOf(i, 0), next);
    }
    if (!state.isDead && state.kills > 0 && state.step != IDLE) {
      State next = state;
      next.isDead = 1;
      next.kills--;
      take(actionOf(0, KILL), next);
    }
  }

  // Whether nothing is left to do. Then a fresh read must give the latest value.
  bool checkRest(const State& s) {
    if (s.isDead || s.step != IDLE || s.left > 0) return false;
    for (int i = 0; i < size.readers; i++) if (s.readers[i].left > 0) return false;
    const Slot& slot = s.slots[s.current % size.slots];
    if (slot.stamp != s.current || slot.a != s.latest || slot.b != s.latest) fail("at rest the current slot is not the latest value");
    return true;
  }

  // Each reader alone: the writer is stopped wherever it is, or dead.
  template <class OnRun>
  void solo(const State& state, OnRun onRun) {
    for (int i = 1; i <= size.readers; i++) {
      State s = state;
      const int left = s.readers[i - 1].left;
      if (left == 0) continue;
      int steps = 0;
      while (s.readers[i - 1].left == left && violation.empty()) {
        step(s, i);
        if (++steps == STEPS_MAX) fail("a reader does not finish alone");
      }
      onRun(steps);
    }
  }

  std::string describe(Byte action, const State& s) {
    const int i = peerOf(action);
    if (kindOf(action) == KILL) return "the writer is killed";
    char text[100];
    if (i == 0) snprintf(text, sizeof text, "writer, before step %d: current %d", s.step, s.current);
    else snprintf(text, sizeof text, "reader %d, before step R%d: version %d, values %d %d", i, s.readers[i - 1].step, s.readers[i - 1].version, s.readers[i - 1].a, s.readers[i - 1].b);
    return text;
  }

 private:
  const Size size;
  const Mutant mutant;

  void fail(const char* what) { if (violation.empty()) violation = what; }

  Byte nextVersion(Byte version) {
    if (version != size.last) return Byte(version + 1);
    if (mutant == ZERO_NOT_SKIPPED) return 0;
    if (mutant == ONE_AFTER_THE_LAST) return 1;
    const int first = (size.last + 1) % size.slots;
    return Byte(first == 0 ? size.slots : first);
  }

  bool step(State& s, int i) { return i == 0 ? stepWriter(s) : stepReader(s, s.readers[i - 1]); }

  bool stepWriter(State& s) {
    if (s.isDead) {
      // A successor takes the role, and begins at `current`.
      s.isDead = 0;
      s.step = IDLE;
      s.own = mutant == SUCCESSOR_GOES_ON ? nextVersion(s.current) : s.current;
      return true;
    }
    const Byte version = nextVersion(s.own);
    Slot& slot = s.slots[version % size.slots];
    switch (s.step) {
      case IDLE:
        if (s.left == 0) return false;
        s.number++;
        s.left--;
        s.step = mutant == NO_V1 ? V2A : V1;
        return s.step == V1 ? true : stepWriter(s);
      case V1: slot.stamp = 0; s.step = mutant == V2_AFTER_V3 ? V3 : V2A; return true;
      case V2A: slot.a = s.number; s.step = V2B; return true;
      case V2B: slot.b = s.number; s.step = mutant == V2_AFTER_V3 ? V4 : mutant == V3_AFTER_V4 ? V4 : V3; return true;
      case V3:
        slot.stamp = version;
        if (mutant == V3_AFTER_V4) s.own = version, s.step = IDLE;
        else s.step = mutant == V2_AFTER_V3 ? V2A : V4;
        return true;
      default:  // V4
        s.current = version;
        s.latest = s.number;
        if (mutant == V3_AFTER_V4) s.step = V3;
        else s.own = version, s.step = IDLE;
        return true;
    }
  }

  bool stepReader(State& s, Reader& r) {
    const Slot& slot = s.slots[r.version % size.slots];
    switch (r.step) {
      case REST:  // R1
        if (r.left == 0) return false;
        r.version = s.current;
        r.latest = s.latest;
        if (r.version == 0) fail("a reader is told that nothing was written");
        r.step = mutant == NO_R2 ? R3A : R2;
        return true;
      case R2:
        r.step = slot.stamp == r.version ? R3A : AGAIN;
        return true;
      case R3A: r.a = slot.a; r.step = R3B; return true;
      case R3B: r.b = slot.b; r.step = R4; return true;
      case R4:
        if (slot.stamp != r.version && mutant != NO_R4) {
          retry(r);
          return true;
        }
        if (r.a != r.b) fail("a value is torn");
        if (r.a < r.seen) fail("a reader goes back in time");
        if (r.a < r.latest) fail("a read gives a value that was not the latest any more when it began");
        r.seen = r.a;
        r.left--;
        retry(r);
        return true;
      default:  // AGAIN: the same version is current, and its slot has another stamp.
        if (s.current == r.version) fail("a reader takes the memory for corrupt, or would wait for the writer");
        retry(r);
        return true;
    }
  }

  void retry(Reader& r) {
    r.step = REST;
    r.version = r.a = r.b = r.latest = 0;
  }
};

// --- The command: latest [--mutant NAME] [--states N] [--solo] name=value …

int run(int count, char** words) {
  Size size;
  const Assign toNumber = toNumbers({{"slots", &size.slots}, {"writes", &size.writes}, {"readers", &size.readers}, {"reads", &size.reads},
                                         {"kills", &size.kills}, {"last", &size.last},     {"start", &size.start}});
  Command command;
  const int code = readCommand(count, words, mutantNames, MUTANTS, toNumber, command);
  if (code >= 0) return code;
  if (size.slots > SLOTS_MAX || size.readers > READERS_MAX) return fprintf(stderr, "That is larger than the model.\n"), 2;
  Latest model(size, Mutant(command.mutant));
  return exploreModel(model, command);
}

}  // namespace models

int main(int count, char** words) { return models::run(count, words); }
