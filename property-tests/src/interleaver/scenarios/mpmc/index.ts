import { crashes } from './crashes.js'
import { endings } from './ends.js'
import { loans } from './loans.js'
import { pipes } from './pipes.js'
import { transfers } from './transfers.js'

export const mpmcScenarios = [...transfers, ...crashes, ...loans, ...endings, ...pipes]
