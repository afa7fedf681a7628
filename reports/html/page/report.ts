import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { ReportData } from '../data.ts';
import type { Row } from './model.ts';
import type { Navigation } from './use-route.ts';

/** What every view needs. */
export interface Report extends Navigation {
  data: ReportData;
  /** All tests of all runs. */
  rows: readonly Row[];
  /** Names of the runs, see `runNames`. */
  names: readonly string[];
}

export const ReportContext = createContext<Report | null>(null);

/** The report that is shown. @throws Error outside of it */
export function useReport(): Report {
  const report = useContext(ReportContext);
  if (!report) throw new Error('not inside a report');
  return report;
}
