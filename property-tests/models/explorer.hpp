// A complete breadth-first search through the states of a protocol.
//
// A model says what its state is, which actions each peer can take in it, and what must hold. The search visits every state that
// can be reached, so "complete" means: for this size of the model, in every order of steps, nothing was violated. States are
// compared byte by byte, not by their hash. The first violation found has a trace of the fewest actions.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace models {

using Byte = uint8_t;

// An action is one byte: the peer in the high half, in the low half which of its alternatives.
constexpr Byte KILL = 15, RESTART = 14, LEAVE = 13;
inline Byte actionOf(int peer, int kind) { return Byte(peer << 4 | kind); }
inline int peerOf(Byte action) { return action >> 4; }
inline int kindOf(Byte action) { return action & 15; }

struct Result {
  uint64_t states = 0, transitions = 0, rests = 0, soloRuns = 0;
  int longestSolo = 0;
  bool isComplete = false;
  std::string violation;
};

// Model has: State; void pack(const State&, Byte*) and void unpack(const Byte*, State&), which may leave out what is constant;
// packedBytes(); initial(); actions(state, take), which calls take(action, next) for each; checkRest(state), which returns
// whether nothing is left to do; solo(state, onRun); violation, empty or what was violated; describe(action, state).
template <class Model>
class Explorer {
 public:
  explicit Explorer(Model& model, size_t statesMax) : model(model), statesMax(statesMax), stride(model.packedBytes()) {
    if (stride > STRIDE_MAX) fprintf(stderr, "A state has %zu bytes.\n", stride), abort();
    table.assign(size_t(1) << 16, NONE);
  }

  Result explore(bool runsSolo) {
    Result result;
    add(model.initial(), NONE, 0);
    typename Model::State state;
    for (uint32_t at = 0; at < count && model.violation.empty(); at++) {
      model.unpack(packedState(at), state);
      if (model.checkRest(state)) result.rests++;
      if (!failed(at) && runsSolo) {
        model.solo(state, [&](int steps) {
          result.soloRuns++;
          if (steps > result.longestSolo) result.longestSolo = steps;
        });
      }
      if (failed(at)) break;
      model.actions(state, [&](Byte action, const typename Model::State& next) {
        result.transitions++;
        if (!model.violation.empty()) {
          if (trace.empty()) fail(at, action, next);
          return;
        }
        add(next, at, action);
      });
      if (count >= statesMax) break;
    }
    result.states = count;
    result.isComplete = model.violation.empty() && count < statesMax;
    result.violation = model.violation;
    return result;
  }

  // The actions that led to the violation, one a line.
  std::string trace;

 private:
  static constexpr uint32_t NONE = 0xffffffffu;
  static constexpr size_t STRIDE_MAX = 1024;
  static constexpr uint32_t CHUNK_STATES = 1 << 14;
  Model& model;
  const size_t statesMax;
  const size_t stride;
  uint32_t count = 0;
  // Chunks, so that growing copies nothing.
  std::vector<std::vector<Byte>> chunks;
  std::vector<uint32_t> parents;
  std::vector<Byte> actions;
  // Open addressing: numbers of states.
  std::vector<uint32_t> table;

  uint64_t hashOf(const Byte* bytes) const {
    uint64_t hash = 0x9e3779b97f4a7c15ull;
    for (size_t at = 0; at < stride; at += 8) {
      uint64_t word = 0;
      memcpy(&word, bytes + at, stride - at < 8 ? stride - at : 8);
      hash = (hash ^ word) * 0xff51afd7ed558ccdull;
      hash ^= hash >> 32;
    }
    return hash;
  }

  Byte* packedState(uint32_t number) {
    return &chunks[number / CHUNK_STATES][number % CHUNK_STATES * stride];
  }

  void add(const typename Model::State& state, uint32_t parent, Byte action) {
    Byte bytes[STRIDE_MAX];
    model.pack(state, bytes);
    size_t at = hashOf(bytes) & (table.size() - 1);
    for (; table[at] != NONE; at = (at + 1) & (table.size() - 1)) {
      if (memcmp(packedState(table[at]), bytes, stride) == 0) return;
    }
    if (count >= statesMax) return;
    if (count % CHUNK_STATES == 0) chunks.emplace_back(CHUNK_STATES * stride);
    table[at] = count++;
    memcpy(packedState(count - 1), bytes, stride);
    parents.push_back(parent);
    actions.push_back(action);
    if (size_t(count) * 2 > table.size()) grow();
  }

  void grow() {
    std::vector<uint32_t>(table.size() * 2, NONE).swap(table);
    for (uint32_t number = 0; number < count; number++) {
      size_t at = hashOf(packedState(number)) & (table.size() - 1);
      while (table[at] != NONE) at = (at + 1) & (table.size() - 1);
      table[at] = number;
    }
  }

  bool failed(uint32_t at) {
    if (model.violation.empty()) return false;
    if (trace.empty()) trace = traceTo(at);
    return true;
  }

  void fail(uint32_t at, Byte action, const typename Model::State& next) {
    trace = traceTo(at) + model.describe(action, next) + "\n";
  }

  std::string traceTo(uint32_t at) {
    std::vector<uint32_t> path;
    for (; at != NONE; at = parents[at]) path.push_back(at);
    std::string text;
    typename Model::State state;
    for (size_t step = path.size(); step-- > 0;) {
      model.unpack(packedState(path[step]), state);
      text += (step + 1 == path.size() ? std::string("initially") : model.describe(actions[path[step]], state)) + "\n";
    }
    return text;
  }
};

}  // namespace models
