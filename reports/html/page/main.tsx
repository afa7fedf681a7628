import { render } from 'preact';
import type { ReportData } from '../data.ts';
import { App } from './app.tsx';
import './styles/index.css';

/** The page's script: finds the data that was written into the page and draws it. */
const json = document.getElementById('data')?.textContent ?? '';
const root = document.getElementById('app');
if (root) render(<App data={JSON.parse(json) as ReportData} />, root);
