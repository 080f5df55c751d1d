// Starts the page.

import { mount } from 'svelte';
import './app.css';
import './styles/base.css';
import './styles/controls.css';
import './styles/panels.css';
import './styles/verdict.css';
import './styles/frame.css';
import './styles/door.css';
import App from './routes/App.svelte';
import { clock } from './state/clock.svelte.ts';
import { idle } from './state/idle.svelte.ts';
import { locale } from './state/locale.svelte.ts';
import { router } from './state/router.svelte.ts';
import { session } from './state/session.svelte.ts';
import { theme } from './state/theme.svelte.ts';

const target = document.getElementById('app');
if (target === null) throw new Error('the page has no place to be shown in');

theme.start();
clock.start();
router.start();
idle.start();
await locale.start();
mount(App, { target });
await session.start();
